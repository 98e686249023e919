package lab

import (
	"io/fs"
	"os"
	"path/filepath"
)

// copyForUser copies a root as a login that is not root sees it: what others
// may not read is there and cannot be opened.
func copyForUser(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return copyDir(dst, info)
		case d.Type()&fs.ModeSymlink != 0:
			text, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(text, dst)
		case d.Type().IsRegular():
			return copyFile(name, dst, info)
		}
		return nil
	})
}

func copyDir(dst string, info fs.FileInfo) error {
	if info.Mode()&0o005 == 0o005 {
		return os.MkdirAll(dst, 0o755)
	}
	if err := os.Mkdir(dst, 0); err != nil {
		return err
	}
	return fs.SkipDir
}

func copyFile(name, dst string, info fs.FileInfo) error {
	var data []byte
	mode := fs.FileMode(0)
	if info.Mode()&0o004 != 0 {
		mode = info.Mode().Perm()
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return err
		}
	}
	if err := writeMode(dst, string(data), mode); err != nil {
		return err
	}
	return os.Chtimes(dst, info.ModTime(), info.ModTime())
}
