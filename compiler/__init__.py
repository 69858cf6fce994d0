"""The compiler: from an exported program to one shared library. Never imported at run time."""
