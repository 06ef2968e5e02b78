package clients

import (
	"encoding/json"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
)

// patched returns the draft of a client after a JSON merge patch (RFC 7396). The patch is applied to
// what GET shows, but for the keys: they stay as they are unless the patch has them.
func patched(old *store.Client, patch []byte) (draft, error) {
	if _, err := rest.ParseObject(patch, clientFields...); err != nil {
		return draft{}, err
	}
	shown := show(*old)
	shown.Keys = nil
	return decodeClient(mergePatch(mustJSON(shown), patch))
}

// mergePatch applies a merge patch, whose syntax is correct, to a JSON value.
func mergePatch(target, patch json.RawMessage) json.RawMessage {
	var changes map[string]json.RawMessage
	if json.Unmarshal(patch, &changes) != nil || changes == nil {
		return patch // no object: it replaces the target
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(target, &fields) != nil || fields == nil {
		fields = map[string]json.RawMessage{}
	}
	for name, change := range changes {
		if string(change) == "null" {
			delete(fields, name)
		} else {
			fields[name] = mergePatch(fields[name], change)
		}
	}
	return mustJSON(fields)
}
