"""Which properties the VNN-LIB standard's own parser takes. Needs the package vnnlib.

    vnnlib_oracle.py FILE...     a line for each: yes, or no
"""
import sys

import vnnlib

for path in sys.argv[1:]:
    try:
        vnnlib.parse_query_file(path)
        print("yes")
    except vnnlib.VNNLibException:
        print("no")
