"""Jobs adrift: such as will not go on by themselves. docs/adrift.md has the words."""
