"""What is counted and written of each question: the query log and the figures."""
