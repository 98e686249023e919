package kubelet

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// flagKind says how the kubelet reads the value of a flag.
type flagKind uint8

const (
	kindOther flagKind = iota // any value passes here; the kubelet may be stricter
	kindString
	kindBool
	kindInt
	kindInt32
	kindInt32Decimal // klog's verbosity
	kindInt64
	kindUint64
	kindFloat64
	kindDuration
	kindIP
	kindStringSlice
	kindMapEqual  // a=b,c=d
	kindPairEqual // one a=b
	kindMapLess   // a<b,c<d
	kindMapColon  // a:b,c:d
	kindMapBool   // a=true,b=false
	kindVersion   // true, false, raw, or a version to pose as
)

// noOptValue is the value a flag of this kind takes when none is written, ""
// when it then takes the next argument (pflag's NoOptDefVal).
func (k flagKind) noOptValue() string {
	if k == kindBool || k == kindVersion {
		return "true"
	}
	return ""
}

// check returns the error the flag's Set method would return for a value.
func (k flagKind) check(value string) error {
	switch k {
	case kindMapEqual, kindPairEqual, kindMapLess, kindMapColon, kindMapBool:
		return k.checkMap(value)
	case kindBool:
		_, err := strconv.ParseBool(value)
		return err
	case kindVersion:
		return checkVersionFlag(value)
	case kindDuration:
		_, err := time.ParseDuration(value)
		return err
	case kindFloat64:
		_, err := strconv.ParseFloat(value, 64)
		return err
	case kindIP:
		return checkIP(value)
	case kindStringSlice:
		return checkStringSlice(value)
	}
	return k.checkInt(value)
}

func (k flagKind) checkInt(value string) (err error) {
	switch k {
	case kindInt, kindInt64:
		_, err = strconv.ParseInt(value, 0, 64)
	case kindInt32:
		_, err = strconv.ParseInt(value, 0, 32)
	case kindInt32Decimal:
		_, err = strconv.ParseUint(value, 10, 32)
	case kindUint64:
		_, err = strconv.ParseUint(value, 0, 64)
	}
	return err
}

// checkMap follows the map types of k8s.io/component-base/cli/flag.
func (k flagKind) checkMap(value string) error {
	separator, shape := "=", "string=string"
	switch k {
	case kindPairEqual:
		if !strings.Contains(value, "=") {
			return errors.New("malformed pair, expect string=string")
		}
		return nil
	case kindMapLess:
		separator, shape = "<", "string<string"
	case kindMapColon:
		separator, shape = ":", "string:string"
	case kindMapBool:
		shape = "string=bool"
	}
	for pair := range strings.SplitSeq(value, ",") {
		name, v, ok := strings.Cut(pair, separator)
		if pair == "" {
			continue
		}
		if !ok {
			return fmt.Errorf("malformed pair, expect %s", shape)
		}
		if k != kindMapBool {
			continue
		}
		name, v = strings.TrimSpace(name), strings.TrimSpace(v)
		if _, err := strconv.ParseBool(v); err != nil {
			return fmt.Errorf("invalid value of %s: %s, err: %v", name, v, err)
		}
	}
	return nil
}

// checkVersionFlag follows versionValue.Set of component-base's verflag. A value
// that starts with v makes newer kubelets pose as that version.
func checkVersionFlag(value string) error {
	if value == "raw" || strings.HasPrefix(value, "v") {
		return nil
	}
	_, err := strconv.ParseBool(value)
	return err
}

// checkIP follows IPVar.Set of pkg/util/flag, which allows leading zeros in an
// IPv4 address as Go did before 1.17.
func checkIP(value string) error {
	octets := strings.Split(value, ".")
	for i, o := range octets {
		if zeroless := strings.TrimLeft(o, "0"); len(octets) == 4 && o != "" {
			octets[i] = cmp.Or(zeroless, "0")
		}
	}
	if value != "" && net.ParseIP(value) == nil && net.ParseIP(strings.Join(octets, ".")) == nil {
		return fmt.Errorf("%q is not a valid IP address", value)
	}
	return nil
}

func checkStringSlice(value string) error {
	if value == "" {
		return nil
	}
	_, err := csv.NewReader(strings.NewReader(value)).Read()
	return err
}
