"""The district itself: its sites, client groups and settings."""
