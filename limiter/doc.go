// Package limiter decides, for each request, whether its client is within its rate limit and its
// bound of concurrent requests. It keeps one token bucket per client, in memory.
//
// # Clients
//
// A registered client is a name with up to MaxKeys API keys, an address or a range of addresses, and
// has the terms given to Limiter.Set. With Terms.Each, a range has a bucket for each IPv4 address or
// IPv6 network in it. All other clients have the default limit, with a bucket each as well.
// Limiter.Identify finds the client of a request, Limiter.Admit decides, and Lease.Release ends the
// request. Set, Delete and Reset change registered clients; Usage, Used, Limited,
// Registered, Tracked and Overflowed report. Restore adds the counts of an earlier process.
// SetDefault changes the default limit. Share holds the limits together with other instances.
//
// # Guarantees
//
//   - Rate. In any window, one bucket admits at most capacity + rate·(window + 1/4 ns) requests,
//     whatever the order of their times. Over time, a client that always asks gets its whole rate.
//     (TestWindow, TestEntitlement, TestReorderedClock, TestEveryWindow, TestTakeAgreesWithModel)
//   - A change refills nothing. However often Set changes the terms of a client, or Delete removes
//     it and Set registers it again, no window admits more to it than its largest capacity plus the
//     refill. Only Reset fills a bucket. A name or range registered for the first time starts full;
//     an address starts with what it spent while unregistered. (TestChangesGrantNothing,
//     TestLateChangesGrantNothing, TestDeletionRefillsNothing, TestFirstRegistrationRefillsNothing,
//     TestDeletedRangeLeavesItsDebt)
//   - A change of the default limit refills nothing either. What a smaller capacity forgives stays
//     forgiven: nothing is remembered of it. No window that spans one change admits more than the
//     larger capacity plus the refill at the larger rate; a request that began before its bucket
//     moved, and is decided after, counts at the moment of the move. (TestSetDefault,
//     TestSetDefaultRefillsNothing, TestSetDefaultAndEveryWindow)
//   - Requests of an address that is being deleted may take from its registered and from its
//     unregistered bucket, at most the sum of both capacities; the debt left to the unregistered
//     one is exact. (TestDeleteAndTakeAtOnce)
//   - A range with Terms.Each. Its addresses have what unregistered clients have, and a change of
//     their limit is like one of the default limit. Switched on, each address begins with what the
//     range has spent; switched off, the range begins with the most that an address has spent.
//     Deletion charges each address with its own debt, and registration gives it back. Requests amid
//     a switch to off, or a deletion, may take from both buckets, at most the sum of both capacities;
//     the debt left is exact. (TestEachIsLikeTheDefault, TestEachChanges, TestEachOnAndOff,
//     TestEachDeleted, TestEachSwitchedAtOnce, TestEachChargesTheLast, TestEachChangesAtOnce)
//   - A debtor is never forgotten. Only full buckets are dropped. While every place is taken by a
//     client in debt, newcomers share buckets: they may get less than their limit, never more. The
//     addresses of ranges with Terms.Each and the unregistered clients have their places together.
//     (TestEvictionLosesNothing, TestFloodKeepsHotDebtor, TestOverflowDebtIsTakenAlong,
//     TestAddressFlood, TestEachSharesThePlaces, TestEachOverflowIsKept)
//   - Blocked. A request that begins after Set has blocked its client is rejected, be it exempt or in
//     shadow mode. (TestBlocked, TestBlockedAtOnce)
//   - Concurrency. A request that would exceed the bound of its client is refused. Only requests
//     that began before the bound was set or lowered, or in shadow mode, can be in flight above it.
//     (TestMaxInFlightAtOnce, TestDeletionEndsNothing, TestEverythingAtOnce; of unregistered clients
//     and of addresses with Terms.Each, TestUnderWay, TestUnderWayIsExact, TestEachMaxInFlight)
//   - Shared limits (Share). Over all instances, any window admits at most capacity + rate·window +
//     instances·credit, where the credit is capacity/8/instances, rounded down: at most 9/8 of the
//     capacity and the refill, and without a token of credit exactly capacity + rate·window. An
//     instance that dies forgets at most its credit. While the central state is away, the instances
//     together admit what one would from the debts that they know; where there are fewer tokens than
//     instances, each of these one, and its part of the rate. Unregistered clients and addresses with
//     Terms.Each are told once they have spent more than half of their bucket at an instance: so half
//     a bucket for each may be untold, and a client that stays below at all of them has its rate at
//     each. Clients in shared buckets, trials, shadow mode and Terms.MaxInFlight are of an instance.
//     (TestShareOfTwo, TestShareOfUnregistered, TestShareAway, TestShareAwayFields, TestShareMovedBucket,
//     TestShareTellsBoth, TestShareReset, TestShareLateAnswer, TestShareLosesNoToken; the bound,
//     limiter/shared)
//   - Decisions agree with a slow model in exact fractions, whatever the sequence of requests and
//     changes. (TestLimiterAgreesWithOracle)
//
// Shadow mode admits and counts what would be rejected, so it enforces nothing. The chance that any
// two of a million unregistered clients share a bucket is 3 in 100 million. The arithmetic holds
// for 18 years after New.
//
// The package knows nothing of HTTP except the text of the limit fields, and nothing of stores or
// how other processes are reached. It starts no goroutines, logs nothing, and no request waits for a
// lock. With Share, some wait for an answer.
//
// # Structures
//
//	file           structure                               cost
//	gcra.go        rates, take: a limit, one decision      arithmetic on an int64, without a clock
//	rate.go        the fraction that a rate stands for     when a limit is prepared
//	state.go       a bucket's state in a shared word       a load; a compare-and-swap if admitted
//	table.go       unregistered clients, by hash           at most 32 bytes each, up to MaxTracked
//	default.go     a change of the default limit           a second table while it runs
//	pool.go        the places of all tables                8 bytes a table
//	each.go        the table of a range with Terms.Each    2 KiB to 1 MiB, and as table.go
//	group.go       16 cells or more of that table          288 bytes or more; copied when full
//	index.go       registered addresses and keys           128 to 192 bytes each
//	names.go       the accounts of named clients           12 to 24 bytes each
//	keyring.go     the keys of a named client              96 bytes if there are several
//	account.go     a registered client's bucket, counters  64 bytes, and 48 after a change; 48 for some
//	named.go       what names a client or its range        64 bytes, 32 more for a range
//	plan.go        terms prepared for requests             224 bytes for each distinct Terms
//	share.go       what is shared, and among how many      a map's read for each request
//	share_take.go  a decision with credit, or without      a second compare-and-swap if admitted
//	tally.go       what is not told yet of a client        some 250 bytes for each one in debt
//	waiter.go      a request that waits                    some 400 bytes meanwhile
//	telling.go     what is told, and what is heard         off the request path
//	agenda.go      when a client's tally is looked at      a heap; 8 bytes each
//	debts.go       what deleted clients still owe          until repaid, with nothing in flight
//	rejections.go  the clients rejected most               272 KiB
//
// Ranges are in a bart.Table, which takes microseconds to change, and so has the first bucket of each
// as an index has: once that is closed, it leads to the present one. A request looks in the key index
// if it has a key, in the address index, in the ranges if there are any, and in the table, and stops
// at the first match. It allocates only when a group has to be replaced, for a newcomer or by
// SetDefault.
// (TestRequestsAllocateNothing, TestMemory, TestSizesAreAsDocumented, TestMillion)
//
// # Who writes what
//
// Limiter.registering serializes Set, SetDefault, Delete, Reset, Restore and Usage, each client of
// Used, and the descriptions of Limited. Only its holder writes the indexes, the ranges, plans, names,
// debts and floors, a bucket's next, a table's next and shadow, a pool's tables, and an account's
// named, extra, trial, table and owed. Only its holder closes the bucket of a registered client.
//
// Requests take no lock. They write the state, entered and seen of a bucket, the state of a trial,
// the other counters of an account, the table, and the rejections. Rates, ranges, floors, named and
// what requests read of a plan never change: each is built whole before a pointer to it is stored.
//
// # Order of loads and stores
//
// Go's atomic operations are sequentially consistent. These orders are relied on:
//
//   - Moving a bucket (bucket.moveTo): store next and its state, then close the old state by
//     compare-and-swap. A request that finds a bucket closed finds the next one complete and does
//     not wait. A token taken before the swap makes the swap fail, and it is tried again.
//     (TestTakeDoesNotWaitForSet, TestSetAndTakeAtOnce, TestRequestOutlivesWhatItFound)
//   - Index entries: write the address, then store the state, which is 0 while the entry is free.
//     An address is never overwritten. Readers load the state, then read the address, and so never
//     take from another client's bucket. (TestIndexReadersAndWritersAtOnce)
//   - Deletion: remove the bucket from the index, then close it. A request that finds it closed, with
//     no next, identifies its client again and does not find it again. (TestDeleteAndTakeAtOnce)
//   - A change of keys (Limiter.rekey): store the keys, move the bucket, then change the index. A
//     request that finds the bucket closed looks for its own key among those of the account before
//     it goes on, so no key that was removed leads to the next bucket, and each that is left does.
//     The same look at each lookup makes entries of removed keys harmless.
//     (TestKeysChangeBetweenIdentifyAndAdmit, TestKeyRotatedAtOnce)
//   - Deletion charges the unregistered buckets once before requests can get there, and again when
//     the old state is final. Registration of an address reads the unregistered debt before the new
//     bucket is published, and again after. (TestDeleteAndTakeAtOnce; the sums,
//     TestLimiterAgreesWithOracle)
//   - Requests in flight (bucket.enter): load state, bounded, entered and left, in that order, then
//     swap bounded. As left only grows and a failed swap starts over, the count is exact at the
//     load of left. (TestMaxInFlightAtOnce, TestBoundHoldsInANewBucket)
//   - Counts (account.counts): a request adds to entered or bounded before it adds to limited,
//     shadowLimited or uncounted; readers load in reverse order. A reset adds what has been counted
//     to uncounted, and takes it from refused; Restore does the reverse. (TestCountsAtOnce,
//     TestResetBeforeRejection, TestUsedAtOnce)
//   - Cells of the table: raise tracked, then claim the key, then open the state. Closing a group
//     takes the state first, then the key; both are final from then on, and any number of
//     goroutines may copy them. The first to store heirs wins, and slots are changed only after
//     that. (TestSameNewClientAtOnce, TestChurnAtOnce, TestTableAtOnce, TestNotOpenedIsKept)
//   - Shared buckets: a request takes its token, then looks for a bucket of its client's own. A
//     request that opens such a bucket claims its key, then loads the shared state. At least one of
//     the two sees the other, so no token is lost. (TestSharedTokenAfterOwnBucket,
//     TestRaiseWhileOpening)
//   - A change of the default limit: store next, move all shared buckets, then the groups, then
//     make the next table the limiter's. Each is closed first, then translated, then stored where
//     the next table has nothing yet; the first to store wins. A request that finds its bucket
//     closed moves its group, if that has not happened, and goes on in the next table. Hence a
//     token is taken either before the close, and is in the final state that is translated, or in
//     the next table; never from both. A client without a bucket of its own opens one in the next
//     table only after its shared bucket has moved there, and so finds what it has spent. The clock
//     is read after the close, so no token was taken at a later time. If s tokens are spent at that
//     time t, a window from a to b has admitted at most s + rate·(t-a), or C + rate·(t-a) if s was
//     cut down to C', and will admit at most C' - s + rate'·(b-t). (TestSetDefaultRefillsNothing,
//     TestSetDefaultClock, TestSetDefaultAndEveryWindow)
//   - Tables of ranges with Terms.Each: a change of the limit is as above. When the buckets of
//     addresses are switched on, they are seeded before the range's old bucket is closed. When they
//     are switched off, or the range is deleted or reset, the range's bucket is closed first, and then
//     the table moves to one that is gone, as to another limit. A request that comes there has left no
//     token behind, finds the range's bucket closed and follows it. What was spent is charged before
//     the bucket is closed, and again when the states are final. (TestEachChargesTheLast,
//     TestEachAtOnce)
//   - Untold tokens (tally.word): a request counts its token, together with itself, then takes it
//     from the bucket, then leaves the count or takes the token back. What is told is what is counted
//     without the requests in between and what is on its way, so each token is told once, and no view
//     has one twice. An answer takes its tokens out of the word, then out of those on their way, which
//     are read first: so none seems untold again. Share.collecting serializes all else that takes
//     tokens out. A tally is dropped by a compare-and-swap of 0, so no request counts a token that is
//     not told. (TestShareLosesNoToken, TestShareSettlesAtOnce, TestShareForgetsOnlyDropped)
//   - Looks at tallies (tally.planned, tally.noted): Collect clears both before it looks. A request
//     counts its token, then loads them, and notes the tally unless one is set: so Collect sees the
//     token, or is to look again. (TestSharePlansTheFirst, TestShareBurstWithinCredit)
//   - Slots of rejections: seal the mark, write the slot, then store the new mark. Readers load the
//     mark before and after. (TestLimitedAtOnce)
package limiter
