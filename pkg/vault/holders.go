package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Holder is a registration that has entries, its own or of its cases.
type Holder struct{ Tenant, Registration string }

// Holders asks the stream's leader which registrations have entries (JetStream API STREAM.INFO),
// and names each once.
func (v *Vault) Holders(ctx context.Context) ([]Holder, error) {
	found := map[Holder]bool{}
	for offset := 0; ; {
		page, total, err := v.subjectsFrom(ctx, offset)
		if err != nil {
			return nil, fmt.Errorf("list the vault's entries: %w", err)
		}
		for subject := range page {
			if tokens := strings.Split(strings.TrimSuffix(subject, ofCase), "."); len(tokens) == 3 {
				found[Holder{tokens[1], tokens[2]}] = true
			}
		}
		if offset += len(page); len(page) == 0 || offset >= total {
			return slices.Collect(maps.Keys(found)), nil
		}
	}
}

func (v *Vault) subjectsFrom(ctx context.Context, offset int) (page map[string]uint64, total int, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	request := fmt.Appendf(nil, `{"subjects_filter":"vault.>","offset":%d}`, offset)
	reply, err := v.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.INFO."+Stream, request)
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Total int `json:"total"`
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
		Error *struct {
			ErrCode int `json:"err_code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, 0, errors.New("answer is not JSON")
	}
	if answer.Error != nil {
		return nil, 0, fmt.Errorf("error %d", answer.Error.ErrCode)
	}
	return answer.State.Subjects, answer.Total, nil
}
