"""What a person does to a net, one module for each command."""
