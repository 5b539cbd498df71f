"""What a command does not do, and why."""


class Refusal(Exception):
    """A refusal in one line, for whoever typed the command."""
