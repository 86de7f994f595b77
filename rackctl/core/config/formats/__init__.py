"""Core. One module per kind of machine config: a Machine in, served files and kernel arguments out."""
