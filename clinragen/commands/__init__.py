"""One small module per subcommand: ``HELP``, ``configure(parser)`` and ``run(args)``; heavy imports inside ``run``."""
