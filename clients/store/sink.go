package store

// Sink takes all that a store has at one position, when it is loaded. An error of its methods ends
// the loading and is returned as it is.
type Sink interface {
	Begin(at Position, plans []Plan) error // first, once
	Client(c Client) error                 // in the order of Records.Clients
	Bad(b Bad)                             // a row that is no client, at any place
}
