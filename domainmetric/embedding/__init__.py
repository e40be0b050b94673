"""A trained metric in use: embed, classify and match pictures with the network of a finished run."""
