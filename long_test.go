package main

import "flag"

var long = flag.Bool("long", false, "run the long form of the tests")

var recordTo = flag.String("record", "", "write what docs/health draws to this file; with -long")
