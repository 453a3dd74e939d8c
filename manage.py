#!/usr/bin/env python
"""The one command: `python manage.py help` lists what it can do."""

import sys

from agentloop.command_line import main

if __name__ == "__main__":
    main(sys.argv)
