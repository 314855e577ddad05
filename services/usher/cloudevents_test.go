package usher

import (
	"bytes"
	"context"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/nats-io/nats.go/jetstream"
)

// attributesOfNATS are those of the binary mode of CloudEvents' NATS protocol binding 1.0.2, §3.1.
var attributesOfNATS = spec.WithPrefix("ce-")

// overNATS is a message of a stream as CloudEvents' own library reads one.
type overNATS struct{ *jetstream.RawStreamMsg }

// parsed is the event that CloudEvents' own library makes of a message.
func parsed(ctx context.Context, m *jetstream.RawStreamMsg) (*cloudevents.Event, error) {
	return binding.ToEvent(ctx, overNATS{m})
}

func (m overNATS) ReadEncoding() binding.Encoding {
	if attributesOfNATS.Version(m.Header.Get("ce-specversion")) == nil {
		return binding.EncodingUnknown
	}
	return binding.EncodingBinary
}

func (m overNATS) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m overNATS) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := attributesOfNATS.Version(m.Header.Get("ce-specversion"))
	for name, values := range m.Header {
		var err error
		switch attribute := version.Attribute(name); {
		case strings.EqualFold(name, "content-type"):
			err = w.SetAttribute(version.AttributeFromKind(spec.DataContentType), values[0])
		case attribute != nil:
			err = w.SetAttribute(attribute, values[0])
		case strings.HasPrefix(name, "ce-"):
			err = w.SetExtension(strings.TrimPrefix(name, "ce-"), values[0])
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.Data))
}

func (m overNATS) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := attributesOfNATS.Version(m.Header.Get("ce-specversion")).AttributeFromKind(kind)
	return attribute, m.Header.Get(attribute.PrefixedName())
}

func (m overNATS) GetExtension(name string) any { return m.Header.Get("ce-" + name) }

func (m overNATS) Finish(error) error { return nil }
