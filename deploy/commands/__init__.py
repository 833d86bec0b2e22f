"""The commands of `schoolgate`, a module each; imported only when asked for, so that every command starts quickly."""
