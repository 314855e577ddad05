package finhub

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
)

// with returns the headers of the vendor's curl, changed; nil removes one.
func with(changes map[string][]string) http.Header {
	h := http.Header{}
	for name, value := range map[string]string{
		"Authorization": "Bearer t", "X-Tenant-ID": "t", "Content-Type": "application/json", "User-Agent": "curl/8",
		"X-Forwarded-From": "e2e-test", "platform": "web", "deviceId": "356938035643809",
	} {
		h.Set(name, value)
	}
	for name, values := range changes {
		h.Del(name)
		for _, v := range values {
			h.Add(name, v)
		}
	}
	return h
}

func TestHeadersAreDemandedAsTheVendorPrintsThem(t *testing.T) {
	three := map[string][]string{"User-Agent": nil, "X-Forwarded-From": nil, "platform": nil, "deviceId": nil}
	for name, c := range map[string]struct {
		changes map[string][]string
		lenient bool
		want    []string
	}{
		"all headers of the curl":                  {},
		"three headers for a lenient tenant":       {changes: three, lenient: true},
		"three headers for a strict tenant":        {changes: three, want: []string{"User-Agent header is required", "X-Forwarded-From header is required", "platform header is required, also accepted as sec-ch-ua-platform", "deviceId header is required, also accepted as X-Device-Id or device-id"}},
		"no tenant for a lenient tenant":           {changes: map[string][]string{"X-Tenant-ID": nil}, lenient: true, want: []string{"X-Tenant-ID header is required"}},
		"a device of spaces":                       {changes: map[string][]string{"deviceId": {" "}}, want: []string{"deviceId header is required, also accepted as X-Device-Id or device-id"}},
		"two tenants":                              {changes: map[string][]string{"X-Tenant-ID": {"a", "b"}}, want: []string{"X-Tenant-ID header must be sent once"}},
		"the alias of the device twice":            {changes: map[string][]string{"device-id": {"a", "a"}}, lenient: true, want: []string{"device-id header must be sent once"}},
		"the device as X-Device-Id":                {changes: map[string][]string{"deviceId": nil, "X-Device-Id": {"d"}}},
		"the device as device-id":                  {changes: map[string][]string{"deviceId": nil, "device-id": {"d"}}},
		"the platform as a browser's client hint":  {changes: map[string][]string{"platform": nil, "sec-ch-ua-platform": {`"Windows"`}}},
		"forwarded for by two proxies, as a list":  {changes: map[string][]string{"X-Forwarded-For": {"192.0.2.1", "192.0.2.2"}}},
		"a browser's hint beside its own platform": {changes: map[string][]string{"sec-ch-ua-platform": {`"Windows"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, messages := Headers(with(c.changes), c.lenient)
			if diff := cmp.Diff(c.want, messages); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHeadersTellWhoTheClientIs(t *testing.T) {
	client, _ := Headers(with(map[string][]string{
		"platform": nil, "sec-ch-ua-platform": {`"Windows"`}, "deviceId": nil, "X-Device-Id": {"d-1"}, "X-Forwarded-For": {"192.0.2.1", "192.0.2.2"},
	}), false)
	want := events.Client{ForwardedFor: "192.0.2.1, 192.0.2.2", ForwardedFrom: "e2e-test", UserAgent: "curl/8", Platform: "Windows", DeviceID: "d-1"}
	if diff := cmp.Diff(want, client); diff != "" {
		t.Error(diff)
	}
}
