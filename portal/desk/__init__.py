"""The written request and the front desk: what is asked, what it means, what becomes of it."""
