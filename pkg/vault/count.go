package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// beyondAll is a page of subjects that no stream has: the answer is their number alone.
const beyondAll = 1 << 40

// Count asks the stream's leader how many registrations of a tenant have an entry: those that
// the pipeline still works on (JetStream API STREAM.INFO). It makes nothing on the broker.
func (v *Vault) Count(ctx context.Context, tenant string) (int64, error) {
	request := fmt.Appendf(nil, `{"subjects_filter":"vault.%s.*","offset":%d}`, tenant, beyondAll)
	reply, err := v.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.INFO."+Stream, request)
	if err != nil {
		return 0, fmt.Errorf("count the vault's entries: %w", err)
	}
	var answer struct {
		Total int64 `json:"total"`
		Error *struct {
			ErrCode int `json:"err_code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return 0, errors.New("count the vault's entries: answer is not JSON")
	}
	if answer.Error != nil {
		return 0, fmt.Errorf("count the vault's entries: error %d", answer.Error.ErrCode)
	}
	return answer.Total, nil
}
