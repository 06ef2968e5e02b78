package limiter

import "flag"

var long = flag.Bool("long", false, "run the long forms")
