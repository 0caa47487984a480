"""The subcommands of ``mimic-prep``: each module has ``configure(parser)`` and ``run(args)``."""
