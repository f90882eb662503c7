"""The form of a bundle: a tar of regular files in a fixed order, described by its own first member, in one gzip member.

A bundle holds nothing that its contents do not say, and says it in one way only: order, names, modes, owners and times
of all members follow from the contents. So a reader can compute each header it has to see and compare bytes, and there
is no room for a link, a device, an extra or a second member, a sparse map or a long-name trick.

    <top>/.repobuild/CONTENTS.json     the contents
    <top>/.repobuild/CONTENTS.sha256   the same as `sha256sum` lines, for people with nothing but a shell
    <top>/, <top>/…/                   folders
    <top>/…                            indexes, payload, pointers; the marker last

Writing is `stored` (gzip without compression) over `direct` (the disk), reading is `reader` over `unpacked` (gzip);
both share `contents` (what is in a bundle) and `tar` (POSIX ustar).
"""
