"""The processes of a node: who they are, who starts them, how they are told and reported."""
