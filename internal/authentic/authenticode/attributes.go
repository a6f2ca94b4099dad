package authenticode

import "encoding/asn1"

// attributes are a signer's signed or unsigned attributes (RFC 5652, section 5.3).
type attributes []attribute

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

// parseAttributes reads the inside of a SET OF Attribute.
func parseAttributes(der []byte) (attributes, error) {
	var all attributes
	for len(der) > 0 {
		var a attribute
		rest, err := asn1.Unmarshal(der, &a)
		if err != nil {
			return nil, refuse(Malformed, "its signature has damaged attributes")
		}
		all = append(all, a)
		der = rest
	}
	return all, nil
}

// all returns every value of an attribute, which may be missing. More than maxSignatures are an error.
func (as attributes) all(oid asn1.ObjectIdentifier) ([][]byte, error) {
	var values [][]byte
	for _, a := range as {
		if !a.Type.Equal(oid) {
			continue
		}
		for _, v := range a.Values {
			if len(values) == maxSignatures {
				return nil, refuse(Malformed, "its signature has too many parts")
			}
			values = append(values, v.FullBytes)
		}
	}
	return values, nil
}

// one reads the single value of an attribute that must be there exactly once.
func (as attributes) one(oid asn1.ObjectIdentifier, into any) error {
	values, err := as.all(oid)
	if err != nil {
		return err
	}
	if len(values) != 1 {
		return refuse(Malformed, "its signature has %d attributes %s instead of one", len(values), oid)
	}
	return unmarshalAll(values[0], into)
}
