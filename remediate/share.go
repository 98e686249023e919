package remediate

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Share is how many hosts of a number of hosts: so many, or an exact
// percentage. The zero Share is all of them.
//
// A percentage is kept as it was written, as an integer and a power of ten, so
// that no rounding happens before the one that is documented at Of.
type Share struct {
	hosts   int    // a number of hosts, 0 for a percentage
	percent uint64 // in units of 1/scale percent
	scale   uint64 // 1, 10, 100, ...
}

// maxDecimals bounds the decimals of a percentage; a millionth of a percent
// tells hosts apart in a fleet of a hundred million.
const maxDecimals = 6

// ParseShare reads "5", "10%" or "2.5%". Nothing and all too much are errors:
// a share is at least one host, and at most 100%.
func ParseShare(text string) (Share, error) {
	number, isPercent := strings.CutSuffix(text, "%")
	parse := parseHosts
	if isPercent {
		parse = parsePercent
	}
	s, err := parse(number)
	if err != nil {
		return Share{}, fmt.Errorf("%q is no share of the hosts: %w", text, err)
	}
	return s, nil
}

const (
	wantShare = "want a number of hosts, such as 5, or a percentage, such as 10%"
	isNothing = "it is nothing, so that no host would ever be changed; want at least 1, or more than 0%"
)

func parseHosts(text string) (Share, error) {
	whole, _, fraction := strings.Cut(text, ".")
	switch {
	case fraction && digits(whole):
		return Share{}, errors.New("hosts come whole; only a percentage may have decimals")
	case !digits(text):
		return Share{}, errors.New(wantShare)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return Share{}, errors.New("the number is too large")
	}
	if n == 0 {
		return Share{}, errors.New(isNothing)
	}
	return Share{hosts: int(n)}, nil
}

func parsePercent(text string) (Share, error) {
	whole, decimals, fraction := strings.Cut(text, ".")
	switch {
	case !digits(whole), fraction && !digits(decimals):
		return Share{}, errors.New(wantShare)
	case len(decimals) > maxDecimals:
		return Share{}, fmt.Errorf("at most %d decimals are read", maxDecimals)
	}
	scale := uint64(1)
	for range decimals {
		scale *= 10
	}
	n, err := strconv.ParseUint(whole+decimals, 10, 63)
	switch {
	case err != nil || n > 100*scale:
		return Share{}, errors.New("it is more than 100%")
	case n == 0:
		return Share{}, errors.New(isNothing)
	}
	return Share{percent: n, scale: scale}, nil
}

// digits reports whether text is a number without sign or blank.
func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// ParseShares reads the shares of a rollout, "1,5,10%": the first wave is one
// host, the second five, each further one ten percent.
func ParseShares(text string) ([]Share, error) {
	if text == "" {
		return nil, errors.New("no share is given; want for example 1,5,10%")
	}
	var shares []Share
	for word := range strings.SplitSeq(text, ",") {
		s, err := ParseShare(word)
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	return shares, nil
}

// Of is how many of total hosts the share is. A percentage is rounded down,
// because it is a promise to touch no more than that; but it is at least one
// host, so that a run gets on, and never more than total. It is computed in
// integers: 10% of 9, 10, 11, 19 and 20 are 1, 1, 1, 1 and 2.
func (s Share) Of(total int) int {
	switch {
	case total <= 0:
		return 0
	case s.hosts > 0:
		return min(s.hosts, total)
	case s.scale == 0:
		return total
	}
	high, low := bits.Mul64(uint64(total), s.percent)
	n, _ := bits.Div64(high, low, 100*s.scale) // cannot overflow: at most total
	return max(int(n), 1)
}

// String writes the share as ParseShare reads it; the zero Share is "all".
func (s Share) String() string {
	switch {
	case s.hosts > 0:
		return strconv.Itoa(s.hosts)
	case s.scale == 0:
		return "all"
	case s.scale == 1:
		return strconv.FormatUint(s.percent, 10) + "%"
	}
	decimals := len(strconv.FormatUint(s.scale, 10)) - 1
	return fmt.Sprintf("%d.%0*d%%", s.percent/s.scale, decimals, s.percent%s.scale)
}
