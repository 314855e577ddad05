package usher

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/keys"
)

type keysCommand struct {
	Generate keysGenerate `cmd:"" help:"Create the key files that are missing; nothing is overwritten."`
	Rotate   keysRotate   `cmd:"" help:"Add a generation to a key. Distribute the file before it becomes active."`
	Renew    keysRenew    `cmd:"" help:"Add the next day's generation of the vault's key, and destroy those of which nothing is in flight any more. Run it every day."`
	Retire   keysRetire   `cmd:"" help:"Destroy generations that were superseded long ago. What they sealed stays closed for ever."`
	RSA      rsaCommand   `cmd:"" name:"rsa" help:"The keys to which a tenant's clients encrypt passwords (Fincode)."`
}

type keysGenerate struct {
	Dir string `arg:"" help:"Directory of the key files."`
	format
}

// generations are what became of the generations of a key.
type generations struct {
	Dir       string    `json:"dir"`
	Key       string    `json:"key,omitempty"`       // whose; empty for all
	Made      string    `json:"made,omitempty"`      // id of a new one
	UsedFrom  time.Time `json:"usedFrom,omitzero"`   // when the new one is
	Destroyed []string  `json:"destroyed,omitempty"` // ids
}

var generationsShape = generations{Key: " ", Made: " ", UsedFrom: time.Unix(0, 0), Destroyed: []string{""}}

func (keysGenerate) shape() any { return generationsShape }
func (keysRotate) shape() any   { return generationsShape }
func (keysRenew) shape() any    { return generationsShape }
func (keysRetire) shape() any   { return generationsShape }

func (k keysGenerate) Run(out io.Writer) error {
	if err := keys.Generate(k.Dir); err != nil {
		return err
	}
	return k.print(out, generations{Dir: k.Dir}, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "keys are in %s; give each service only the files it needs\n", k.Dir)
		return err
	})
}

type keysRotate struct {
	Dir  string        `arg:"" help:"Directory of the key files."`
	Name string        `arg:"" enum:"vault,data,checkpoint" help:"vault, data or checkpoint."`
	In   time.Duration `default:"1h" help:"How long until the new generation is used."`
	format
}

func (k keysRotate) Run(out io.Writer) error {
	from := time.Now().Add(k.In).UTC()
	id, err := keys.Rotate(k.Dir, k.Name, from)
	if err != nil {
		return err
	}
	return k.print(out, generations{Dir: k.Dir, Key: k.Name, Made: id, UsedFrom: from}, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "generation %s of %s is used in %s\n", id, k.Name, k.In)
		return err
	})
}

type keysRenew struct {
	Dir  string        `arg:"" help:"Directory of the key files."`
	Lead time.Duration `default:"1h" help:"How long it takes until every service has the file."`
	// Every must be well below a day: a generation is made for each.
	Every time.Duration `help:"Renew again each time that this is over, until stopped; by default once."`
	format
}

// keyMargin is how much longer than persons are in flight their keys are kept: who seals notices a
// new generation late, and clocks differ.
const keyMargin = time.Hour

func (k keysRenew) Run(ctx context.Context, out io.Writer) error {
	if k.Every <= 0 {
		return k.once(out)
	}
	for tick := time.NewTicker(k.Every); ; {
		if err := k.once(out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
	}
}

func (k keysRenew) once(out io.Writer) error {
	config, err := loadConfig()
	if err != nil {
		return err
	}
	made, destroyed, err := keys.Renew(k.Dir, keys.Vault, time.Now(), k.Lead, time.Duration(config.Broker.MaxAge)+keyMargin)
	if err != nil {
		return err
	}
	return k.print(out, generations{Dir: k.Dir, Key: keys.Vault, Made: made, Destroyed: destroyed}, func(out io.Writer) error {
		if made != "" {
			fmt.Fprintf(out, "generation %s of vault is used from the next day on; distribute the file within %s\n", made, k.Lead)
		}
		_, err := fmt.Fprintf(out, "%d generations of vault destroyed %s\n", len(destroyed), strings.Join(destroyed, " "))
		return err
	})
}

type keysRetire struct {
	Dir   string        `arg:"" help:"Directory of the key files."`
	Name  string        `arg:"" enum:"vault" help:"vault: no other key's data ends."`
	After time.Duration `default:"192h" help:"Destroy what was superseded longer ago than this; more than broker.maxAge."`
	format
}

func (k keysRetire) Run(out io.Writer) error {
	config, err := loadConfig()
	if err != nil {
		return err
	}
	if least := time.Duration(config.Broker.MaxAge); k.After <= least {
		return fmt.Errorf("--after must be more than broker.maxAge, which is %v: persons in flight are sealed with these keys", least)
	}
	ids, err := keys.Retire(k.Dir, k.Name, time.Now().Add(-k.After))
	if err != nil {
		return err
	}
	return k.print(out, generations{Dir: k.Dir, Key: k.Name, Destroyed: ids}, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%d generations of %s destroyed %s\n", len(ids), k.Name, strings.Join(ids, " "))
		return err
	})
}
