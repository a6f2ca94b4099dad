// Package settings looks over configuration files: a setting that nobody reads
// is a slip of the pen, and what it was to do would silently not happen.
package settings

import (
	"slices"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"

	"github.com/fettlehq/fettle/internal/fault"
)

// Unknown names the settings of k for which a configuration has no field, such
// as "agnets" or "archives[0].nam", in order. config is a pointer to an empty
// configuration with koanf's tags; what becomes of it is of no use. Settings
// whose values have the wrong form are left to koanf's own Unmarshal.
func Unknown(k *koanf.Koanf, config any) ([]string, error) {
	var seen mapstructure.Metadata
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		TagName: "koanf", WeaklyTypedInput: true, Metadata: &seen, Result: config,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","), mapstructure.TextUnmarshallerHookFunc()),
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "settings: the configuration can't be looked over")
	}
	if err := dec.Decode(k.Raw()); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "settings: the configuration does not have the right form")
	}
	slices.Sort(seen.Unused)
	return seen.Unused, nil
}
