"""What opens and closes names: grants, operational exceptions, levers, modes."""
