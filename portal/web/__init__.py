"""What holds for every web request, whatever route answers it."""
