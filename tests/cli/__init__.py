"""The command line as people meet it: exit codes, words, JSON."""
