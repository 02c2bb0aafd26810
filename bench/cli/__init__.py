"""The commands, a file each. Only this room knows all the others."""
