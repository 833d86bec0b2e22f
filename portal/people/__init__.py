"""Accounts, and how somebody shows who they are."""
