package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

func registerKeys(r *routes) {
	for _, path := range []string{item, itemRange} { // of a range it is told that it has no keys
		r.add(http.MethodPost, path+"/keys", r.addKey)
		r.add(http.MethodDelete, path+"/keys/{id}", r.removeKey)
	}
}

func (c *controller) addKey(ctx context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	body, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	key, err := decodeNewKey(body)
	if err != nil {
		return err
	}
	asked, err := readCall(r, slices.Concat([]byte(id.String()+"/keys\n"), body))
	if err != nil {
		return err
	}
	changed, added, err := c.usecase.addKey(ctx, asked, id, key)
	if before, ok := errors.AsType[*replay](err); ok {
		var shown keyJSON
		_ = json.Unmarshal(before.body, &shown) // as it was written
		r.Response.Header.Set("Location", keyPath(id, shown.ID))
		rest.WriteJSON(r, before.status, json.RawMessage(before.body))
		return nil
	}
	if err != nil {
		return err
	}
	c.warnOfKey(changed)
	r.Response.Header.Set("Location", keyPath(id, added.ID))
	r.Response.Header.Set("ETag", tag(changed.Version, changed.UpdatedAt))
	rest.WriteJSON(r, http.StatusCreated, showKey(added))
	return nil
}

// decodeNewKey decodes an entry of api_keys that has a key.
func decodeNewKey(body []byte) (draftKey, error) {
	o, err := rest.ParseObject(body, keyFields...)
	if err != nil {
		return draftKey{}, err
	}
	key, err := decodeKeyEntry(o)
	if err == nil && key.digest == (limiter.KeyDigest{}) {
		err = o.Missing(fieldKey)
	}
	return key, err
}

func (c *controller) removeKey(ctx context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	key, err := pathText(r, fieldKeyID, allowedKeyID)
	if err != nil {
		return err
	}
	asked, err := readCall(r, nil)
	if err != nil {
		return err
	}
	changed, err := c.usecase.removeKey(ctx, asked, id, key)
	if err != nil {
		return err
	}
	r.Response.Header.Set("ETag", tag(changed.Version, changed.UpdatedAt))
	r.SetStatusCode(http.StatusNoContent)
	return nil
}

func keyPath(id limiter.ID, key string) string { return clientPath(id) + "/keys/" + key }
