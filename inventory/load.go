package inventory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// EnvFile is the environment variable that names the default inventory.
const EnvFile = "FLEET_INVENTORY"

// defaultFile is the name of the default inventory in a directory.
const defaultFile = "nodes.yaml"

// Load reads and parses an inventory: the file at path, or stdin when path is
// "-". It reads at most MaxBytes.
func Load(path string, stdin io.Reader) (*Inventory, error) {
	if path == "-" {
		return loadFrom(path, stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Position{File: path}, "cannot read the inventory: " + reason(err), "name one with -i FILE, or - for standard input"}
	}
	defer f.Close()
	return loadFrom(path, f)
}

func loadFrom(name string, r io.Reader) (*Inventory, error) {
	data, err := readUpTo(r, MaxBytes)
	if err != nil {
		return nil, &Error{Position{File: name}, "cannot read the inventory: " + reason(err), ""}
	}
	return Parse(name, data)
}

// readUpTo reads to the end, or one byte more than the limit, so that Parse
// sees that there is too much.
func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, limit+1))
}

// reason is an I/O error without the path, which the message names already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Find names the inventory to use when none was given: the file that
// $FLEET_INVENTORY names ("-" is standard input), else nodes.yaml in the
// working directory, else fleet/nodes.yaml in the user's configuration
// directory ($XDG_CONFIG_HOME, by default ~/.config; a relative one is ignored
// as the XDG base directory specification asks). A variable that names a
// missing file is an error, not a reason to look further. getenv is os.Getenv
// outside tests.
func Find(getenv func(string) string) (string, error) {
	if path := getenv(EnvFile); path != "" {
		if path == "-" {
			return path, nil
		}
		if _, err := os.Stat(path); err != nil {
			return "", &Error{Position{File: path}, fmt.Sprintf("cannot read the inventory that $%s names: %s", EnvFile, reason(err)), "mend or unset the variable, or name a file with -i FILE"}
		}
		return path, nil
	}
	looked := []string{"$" + EnvFile + " (not set)"}
	for _, path := range defaultPlaces(getenv) {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &Error{Position{File: path}, "cannot read the inventory: " + reason(err), "name another with -i FILE"}
		}
		looked = append(looked, path)
	}
	return "", &Error{
		Msg:  "no inventory; looked at " + strings.Join(looked, ", "),
		Hint: "name one with -i FILE, or pipe kubectl get nodes -o json into -i -",
	}
}

// defaultPlaces lists the files Find looks for, in order.
func defaultPlaces(getenv func(string) string) []string {
	places := []string{defaultFile}
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		places = append(places, filepath.Join(dir, "fleet", defaultFile))
	} else if home := getenv("HOME"); filepath.IsAbs(home) {
		places = append(places, filepath.Join(home, ".config", "fleet", defaultFile))
	}
	return places
}
