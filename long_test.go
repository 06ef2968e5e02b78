package main

import "flag"

var long = flag.Bool("long", false, "run the long form of the tests")
