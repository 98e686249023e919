package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// askNumber asks for the number of hosts that are about to be changed, so that
// nobody changes more hosts than meant. Anything but that number is a refusal,
// and a usage error: nothing was changed.
func askNumber(env environment, hosts int) error {
	tty, err := env.tty()
	if err != nil {
		return usageError{fmt.Errorf("there is no terminal to ask on: say --yes to change %s, or --dry-run to see the plan only", plural(hosts, "host"))}
	}
	defer tty.Close()
	fmt.Fprintf(tty, "Type the number of hosts to change (%d) to go on, anything else to stop: ", hosts)
	answer, err := readLine(tty)
	if err != nil {
		return usageError{fmt.Errorf("no answer: nothing was changed")}
	}
	if answer != strconv.Itoa(hosts) {
		return usageError{fmt.Errorf("the answer was %.20q, not %d: nothing was changed", answer, hosts)}
	}
	return nil
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
