#!/usr/bin/env python
"""Django's command line for the portal."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ftportal.settings")
    from django.core.management import execute_from_command_line

    from ftportal.operations.local import environment_complete

    environment_complete()
    execute_from_command_line(sys.argv)
