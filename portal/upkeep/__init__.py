"""What runs beside the web: jobs, mail, alerts, figures, backup."""
