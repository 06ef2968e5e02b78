package shared

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/member"
)

var (
	//go:embed buckets.lua
	bucketsScript string
	//go:embed members.lua
	membersScript string
	//go:embed reset.lua
	resetScript string

	bucketsSHA = sha(bucketsScript)
)

// sha returns the name under which Redis keeps a script that it has run.
func sha(script string) string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}

// The keys. Those in braces are in the same slot of a cluster.
const (
	bucketKey  = "lb:"
	membersKey = "{lb}:members"
	epochKey   = "{lb}:epoch"
	resetsKey  = "{lb}:resets"
)

// tell returns the command for some tellings. With whole, it has the text of the script in place of
// its name.
func tell(b rueidis.Builder, some []*limiter.Telling, whole bool) rueidis.Completed {
	keys, arguments := make([]string, len(some)), make([]string, 0, 7*len(some))
	for i, t := range some {
		keys[i] = bucketKey + t.Client
		what := ""
		switch {
		case t.Reset:
			what = "reset"
		case t.Restore:
			what = "restore"
		}
		arguments = append(arguments,
			strconv.FormatInt(t.Capacity, 10),
			strconv.FormatFloat(t.Rate, 'g', -1, 64),
			strconv.FormatInt(t.Spent, 10),
			strconv.FormatInt(t.Asked, 10),
			strconv.FormatInt(int64(t.Debt), 10),
			strconv.FormatInt(t.Resets, 10),
			what)
	}
	if whole {
		return b.Eval().Script(bucketsScript).Numkeys(int64(len(keys))).Key(keys...).Arg(arguments...).Build()
	}
	return b.Evalsha().Sha1(bucketsSHA).Numkeys(int64(len(keys))).Key(keys...).Arg(arguments...).Build()
}

var errReply = errors.New("it gives another answer than the script returns")

// answers reads the reply to so many tellings.
func answers(tellings int, values []int64, err error) ([]limiter.Answer, error) {
	if err != nil {
		return nil, err
	}
	if len(values) != 3*tellings {
		return nil, errReply
	}
	all := make([]limiter.Answer, tellings)
	for i := range all {
		all[i] = limiter.Answer{Debt: time.Duration(values[3*i]), Granted: values[3*i+1], Resets: values[3*i+2]}
	}
	return all, nil
}

// beat returns the command for a beat, after one at a moment of the server's clock.
func beat(b rueidis.Builder, id string, last time.Duration) rueidis.Completed {
	epoch := id + ":" + strconv.FormatInt(time.Now().UnixNano(), 36)
	return b.Eval().Script(membersScript).Numkeys(3).Key(membersKey, epochKey, resetsKey).
		Arg(id, epoch, strconv.FormatInt(last.Microseconds(), 10)).Build()
}

// announce returns the command that says to other instances that a client was reset.
func announce(b rueidis.Builder, client string) rueidis.Completed {
	return b.Eval().Script(resetScript).Numkeys(1).Key(resetsKey).Arg(client).Build()
}

// heard reads the reply to a beat, and the clients that were reset since the last one.
func heard(r rueidis.RedisResult) (b member.Beat, resets []string, err error) {
	values, err := r.ToArray()
	if err != nil {
		return b, nil, err
	}
	if len(values) != 6 {
		return b, nil, errReply
	}
	var texts [4]string
	for i := range texts {
		if texts[i], err = values[i+1].ToString(); err != nil {
			return b, nil, err
		}
	}
	b.Epoch, b.Process = texts[0], texts[1]
	if b.Instances, err = values[0].AsInt64(); err != nil {
		return b, nil, err
	}
	if b.Now, err = moment(texts[2]); err != nil {
		return b, nil, err
	}
	if b.Before = member.None; texts[3] != "" {
		if b.Before, err = moment(texts[3]); err != nil {
			return b, nil, err
		}
	}
	resets, err = values[5].AsStrSlice()
	return b, resets, err
}

// moment reads a time of the server's clock, in microseconds.
func moment(text string) (time.Duration, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: the time %q", errReply, text)
	}
	return time.Duration(n) * time.Microsecond, nil
}
