#!/bin/sh
# Verify an offline bundle of repobuild and install it, on a machine that has nothing but a shell.
#
#     sh install.sh [OPTION]... [FOLDER | PART...]
#
# Needs tar, gzip, sha256sum (coreutils or busybox), and gpgv or sqv; zstd only for a .tar.zst. FOLDER holds SHA256SUMS,
# its signature and the parts (default: where this script is); without PART, all parts that fit this machine are taken.
# Of several repositories, in one file or in several, none is visible before all of them are unpacked and proven.
#
#     --trust FINGERPRINT   believe the key beside the bundle if this is its fingerprint
#     --key FILE            believe this public key, brought by another way
#     --allow-unsigned      install a bundle without a signature
#     --allow-older         install a bundle that is older than what is here
#     --any-target          install a bundle made for other machines, into HOME/TARGET/NAME
#     --name NAME           take only this repository; without it, all that have a part for this machine
#     --dry-run             verify, say what would be done, change nothing
#     --home DIR            the web root (/www)
#     --root DIR            the system to install into, such as a mounted image (/)
#     --http URL/NAME       install no bundle: let this machine use the repository that another one serves there
#     --replace-repos       move all other package sources aside; --restore brings them back
#     --uninstall           remove the client file (with --http URL, that one); with --purge, the repository as well
#     --have [FOLDER]       print what the repository in FOLDER holds, for: repobuild bundle --since
#
# Exit codes: 0 done, 2 usage or something is missing, 3 refused, 7 disk or permission, 75 another run is at work.

# shellcheck disable=SC2015,SC2016  # `a && b || die` is meant as it stands; $releasever is dnf's own
set -eu
umask 022
LC_ALL=C && export LC_ALL
unset IFS CDPATH ENV BASH_ENV TAR_OPTIONS GZIP ZSTD_CLEVEL GREP_OPTIONS POSIXLY_CORRECT QUOTING_STYLE

die() { # CODE MESSAGE [HINT]; nothing of a bundle gets to the terminal but printable signs
    [ "$1" -ne 3 ] || printf '%65536s' '' 2>/dev/null >"$work/room" || # what looks forged may be a full disk
        die 7 "no space for temporary files: ${work%/*}" "TMPDIR=FOLDER sh install.sh ..."
    { printf 'error: %s\n' "$2" && [ $# -lt 3 ] || printf 'hint: %s\n' "$3"; } | tr -cd '\012\040-\176' >&2
    quit "$1"
}
quit() { # CODE: why was said
    [ ! -d "$work" ] || printf '' 2>/dev/null >"$work/told" || :
    exit "$1"
}
say() { printf '%s\n' "$*"; }
is() { [ "$(say "$2" | wc -l)" -eq 1 ] && say "$2" | grep -Eqx -e "$1"; } # PATTERN TEXT
one_of() { printf '%s\n' "$2" | tr ' ' '\n' | grep -Fqx -e "$1"; } # WORD WORDS
sha256() { sha256sum <"$1" | cut -c 1-64; } # FILE
flush() { sync -f "$1" 2>/dev/null || sync || die 7 "cannot be written to the disk: $1"; } # FOLDER
act() { if has --dry-run; then say "would $*"; else "$@"; fi; } # COMMAND...
put() { # FILE: write standard input there in one step, unless it says just that already; no link is followed
    cat >"$work/put"
    [ ! -L "$1" ] && cmp -s "$work/put" "$1" && return
    rm -f "${1%/*}/.${1##*/}".?????? && mkdir -p "${1%/*}" && [ ! -d "$1" ] && # of a run that was killed
        beside_it=$(mktemp "${1%/*}/.${1##*/}.XXXXXX") && cat "$work/put" >"$beside_it" &&
        chmod 644 "$beside_it" && mv -f "$beside_it" "$1" || die 7 "cannot be written: $1"
}

# ---- 1. What is asked for, and where ---------------------------------------------------------------------------------

work='' staging='' home=/www root=/ name='' key='' trust='' http='' among='' replace='' flags=' '
has() { case $flags in *" $1 "*) ;; *) return 1 ;; esac } # OPTION
while [ $# -gt 0 ]; do
    case $1 in
    --home | --root | --name | --key | --trust | --http | --among)
        [ -n "${2-}" ] || die 2 "a value is missing: $1"
        eval "${1#--}=\$2" && shift
        ;;
    --replace-repos) replace=1 ;;
    --allow-unsigned | --allow-older | --any-target | --dry-run) flags="$flags$1 " ;;
    --have | --restore | --uninstall | --purge) flags="$flags$1 " ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit ;;
    --) shift && break ;;
    -*) die 2 "no such option: $1" "sh install.sh --help" ;;
    *) break ;;
    esac
    shift
done
home=${home%/} root=${root%/} http=${http%/}
case $http in *://*/*) name=${name:-${http##*/}} ;; *) name=${name:-${among%% *}} ;; esac
trust=$(printf '%s' "$trust" | tr -d ' ' | tr a-f A-F)
names='[A-Za-z0-9][A-Za-z0-9._-]{0,63}' # of repositories
is '(/[A-Za-z0-9_+@~-][A-Za-z0-9._+@~-]*)+' "$home" || die 2 "not an absolute path of plain signs: --home $home"
is "|$names" "$name" || die 2 "not the name of a repository: --name $name"
is '|[0-9A-F]{40}|[0-9A-F]{64}' "$trust" || die 2 "not a fingerprint of 40 or 64 hex digits: --trust $trust"
is '|https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9_+~-][A-Za-z0-9._+@~-]*)+' "$http" ||
    die 2 "not the URL of a repository, such as http://10.10.10.10/pigsty: --http $http"

missing=''
for each in awk base64 cat chmod cmp cp cut date df find grep gzip head id ln ls mkdir mktemp mv rm sed sha256sum sort \
    tail tar touch tr uname uniq wc; do command -v "$each" >/dev/null || missing="$missing $each"; done
[ -z "$missing" ] || die 2 "this machine lacks:$missing"
! tar --version 2>&1 | grep -q bsdtar || die 2 "the tar of GNU or busybox is needed, and this is bsdtar"

leave() { # CODE: whatever fails without a word of ours is the disk
    [ "$1" -eq 0 ] || [ "$1" -gt 128 ] || [ -e "$work/told" ] ||
        { printf 'error: no space, no permission, or what is said above: %s\n' "$work" >&2 && set -- 7; }
    rm -rf "$work" ${staging:+"$staging"}
    exit "$1"
}
work=$(mktemp -d "${TMPDIR:-/tmp}/repobuild.XXXXXX") || die 7 "cannot make a temporary folder"
trap 'leave $?' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

cat "$root/etc/os-release" >"$work/release" 2>/dev/null || cat "$root/usr/lib/os-release" >"$work/release" ||
    die 2 "no system with an os-release: ${root:-/}"
release() { sed -n "s/^$1=//p" "$work/release" | tail -n 1 | tr -d "\"'"; } # FIELD
version=$(release VERSION_ID)
case "$(release UBUNTU_CODENAME) $(release DEBIAN_CODENAME) $(release ID) $(release ID_LIKE) " in
focal\ *) os=u20 ;; jammy\ *) os=u22 ;; noble\ *) os=u24 ;; resolute\ *) os=u26 ;;
*\ bullseye\ *) os=d11 ;; *\ bookworm\ *) os=d12 ;; *\ trixie\ *) os=d13 ;;
*\ ubuntu\ *) os=u${version%%.*} ;; *\ debian\ *) os=d$version ;;
*\ rhel\ * | *\ ol\ * | *\ centos\ * | *\ rocky\ * | *\ almalinux\ *) os=el${version%%.*} ;;
*) os=unknown ;;
esac
[ "$os" != unknown ] || [ -z "$http" ] || die 2 "neither Debian, Ubuntu nor an EL that is known: $(release ID) $version"
host=$os.$(uname -m)
case $os in
el*) sources=$root/etc/yum.repos.d aside=$root/etc/yum.repos.d/replaced ending=repo ;;
*) sources=$root/etc/apt/sources.list.d aside=$root/etc/apt/replaced ending=list ;;
esac

# ---- 2. Client files: by which apt, dnf or yum find the repository; as repobuild writes them, for the keys at hand ---

client_text() { # local|http TARGET TREE LOCATION
    packages='' keys='' option=trusted=yes equals=' = ' is_signed=''
    [ ! -e "$3/$name-packages.asc" ] || packages=1 keys=$4/$name-packages.asc
    [ ! -e "$3/$name.gpg" ] || is_signed=1 keys=$4/$name.asc option=signed-by=/etc/apt/keyrings/$name.gpg
    case $1.$2 in
    http.el*)
        printf '[%s]\nname=Pigsty Local Yum Repo %s\nbaseurl=%s\nskip_if_unavailable = 1\n' "$name" "$name" "$4"
        printf 'enabled = 1\npriority = 1\ngpgcheck = %d\n' "${packages:-0}"
        ;;
    local.el*)
        printf '[%s-local]\nname=%s-local $releasever - $basearch\nbaseurl=%s/\n' "$name" "$name" "$4"
        printf 'enabled=1\ngpgcheck=%d\n' "${packages:-0}"
        equals='='
        ;;
    http.*) say "deb [$option] $4 ./" && return ;;
    *) say "deb [$option] file:${4#file://}/ ./" && return ;;
    esac
    [ -z "$is_signed" ] || say "repo_gpgcheck${equals}1"
    [ -z "$keys" ] || say "gpgkey$equals$keys"
    case $2 in el7.*) ;; *) say module_hotfixes=1 ;; esac
}

move_aside() { # CLIENTS: all package sources but these client files, to where --restore looks for them
    mkdir -p "$aside/sources.list.d" "$sources"
    for file in "$sources/../sources.list" "$sources"/*.list "$sources"/*.sources "$sources"/*.repo; do
        to=$aside/sources.list.d/${file##*/}
        case $file in
        "$sources"/../*) [ "$ending" = list ] || continue && to=$aside/sources.list ;;
        *) ! one_of "${file##*/}" "$1" || continue ;;
        esac
        while [ -e "$to" ] && [ -e "$file" ]; do to=$to~; done
        [ ! -e "$file" ] || { mv "$file" "$to" && say "moved aside: $file"; }
    done
}

use() { # local|http TREE LOCATION: write this machine's client file and say what to run next
    client=$name-local
    [ "$1" = local ] || client=$name
    [ -z "$replace" ] || move_aside "$client.$ending"
    [ "$ending" = repo ] || [ ! -e "$2/$name.gpg" ] || put "$root/etc/apt/keyrings/$name.gpg" <"$2/$name.gpg"
    client_text "$1" "$host" "$2" "$3" | put "$sources/$client.$ending"
    rm -f "$sources/$client.sources" # the same place with another key would be an error to apt
    flush "$sources"
    say "wrote $sources/$client.$ending; next:"
    if [ "$ending" = list ]; then
        say "  apt-get update -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/$client.list \\" && say \
            "      -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
        say "  apt-get install PACKAGE..."
        return
    fi
    tool=dnf
    [ "$os" != el7 ] || tool=yum
    [ "$1" != local ] || [ ! -e "$2/$name-packages.asc" ] || [ ! -e "$2/$name.gpg" ] ||
        say "  rpm --import ${3#file://}/$name-packages.asc"
    say "  $tool --disablerepo='*' --enablerepo=$client makecache"
    say "  $tool --disablerepo='*' --enablerepo=$client install PACKAGE..."
}

place() { # FOLDER: what is where for a repository that clients of this system know as FOLDER
    tree=$root$1 && parent=${tree%/*} && area=$parent/.${tree##*/}.repobuild is_mount=''
    awk -v at="$tree" '$5 == at { found = 1 } END { exit !found }' /proc/self/mountinfo 2>/dev/null &&
        is_mount=1 area=$tree/.repobuild || :
}
anybodys() { # FIND...: whether another user than root and this one can have changed what is found, a web server perhaps
    ! others=$(find -H "$@" \( ! -user 0 ! -user "$(id -u)" -o -perm -020 -o -perm -002 \) 2>&1) || [ -n "$others" ]
}
guard() { # refuse to work where others can put links in our way
    for each in "$root$home" "$parent" "$tree" "$area"; do
        [ "$each" = "$root$home" ] || [ ! -L "$each" ] || die 7 "a symbolic link stands where a folder has to be: $each"
        [ ! -e "$each" ] || ! anybodys "$each" -prune || die 7 "a folder that another user can change: $each" \
            "chown root $each && chmod go-w $each, or run this as its owner"
    done
    [ ! -e "$tree" ] || ! anybodys "$tree" -type d ||
        die 7 "a folder that another user can change: $(say "$others" | head -n 1)" \
            "find $tree -type d -exec chown root {} + -exec chmod go-w {} +"
    for each in "$area/lock" "$area/leaving-sh"; do
        [ -z "$(find "$each" ! \( -type f -links 1 \) 2>/dev/null)" ] ||
            die 7 "not a file of its own: $each" "remove it"
    done
}
hold() { # take the lock on the area, until the end
    mkdir -p "$parent" "$area" || die 7 "cannot be made: $area"
    exec 9>>"$area/lock"
    ! command -v flock >/dev/null || flock -n 9 || die 75 "another run is at work: $area"
}

place "$home/${name:-pigsty}"
if has --have; then
    tree=${1:-$tree}
    [ -f "$tree/repo_complete" ] && [ -f "$tree/repobuild.lock" ] || die 2 "no repository of repobuild's: $tree"
    of() { sed -nE "s/^\"$1\": \"?([A-Za-z0-9._+~-]{1,64})\"?,?$/\1/p" "$tree/repobuild.lock" | head -n 1; } # FIELD
    say "# repobuild have 1 $(of name) $(of target) $(of time) $(sha256 "$tree/repobuild.lock")"
    cat "$tree/repo_complete"
    exit
fi
if has --uninstall; then
    name=${name:-pigsty} && gone=$name-local other=$name
    [ -z "$http" ] || gone=$name other=$name-local
    if has --purge && [ -f "$tree/repo_complete" ]; then
        guard
        has --dry-run || hold
        for each in gpg asc list repo sources; do act rm -f "$tree.$each" "$tree-local.$each"; done
        act rm -f "$tree/repo_complete"
        [ -z "$is_mount" ] || act find "$tree" -mindepth 1 ! -name lost+found -prune -exec rm -rf {} +
        [ -n "$is_mount" ] || act rm -rf "$tree" "$area"
    fi
    client=$sources/$gone.$ending found=removed
    [ -e "$client" ] || found="nothing to remove (of another repository: --name NAME)"
    act rm -f "$client"
    [ -e "$sources/$other.list" ] || act rm -f "$root/etc/apt/keyrings/$name.gpg"
    has --dry-run || say "$found: $client"
fi
for file in "$aside/sources.list" "$aside/sources.list.d"/*; do
    has --restore && [ -e "$file" ] || continue
    to=$sources/${file##*/}
    [ "$file" != "$aside/sources.list" ] || to=${sources%/*}/sources.list
    [ ! -e "$to" ] || { say "left alone, since there is another: $file" && continue; }
    act mv "$file" "$to" && { has --dry-run || say "restored $to"; }
done
if has --restore || has --uninstall; then
    has --dry-run || flush "$root/etc"
    exit
fi

# ---- 3. Trust: SHA256SUMS and its signature, before any archive is opened --------------------------------------------

signers() { # KEYRING: print the primary fingerprint of each key with a good signature
    if command -v gpgv >/dev/null; then
        gpgv --homedir "$work" --ignore-time-conflict --status-fd 1 --keyring "$1" "$work/asc" "$work/sums" \
            >"$work/status" 2>"$work/said" || : # one key of several may be unknown
        awk '$1 != "[GNUPG:]" { next } $2 == "VALIDSIG" { if (good) print $NF; next }
             $2 ~ /SIG$/ { good = $2 == "GOODSIG" }' "$work/status"
    elif command -v sqv >/dev/null; then
        sqv --keyring "$1" "$work/asc" "$work/sums" >"$work/signers" 2>"$work/said" && cat "$work/signers" || :
    else
        die 2 "neither gpgv nor sqv is here to verify the signature" "install one of gpgv, gnupg2, sqv"
    fi
}

dir=${1:-$0}
if [ $# -gt 0 ] && [ -d "$1" ]; then shift; else case $dir in */*) dir=${dir%/*}/ ;; *) dir=. ;; esac fi
dir=$(cd -- "$dir" 2>/dev/null && pwd -P) || die 2 "no such folder: ${1:-$0}"
[ -f "$dir/SHA256SUMS" ] || die 2 "no SHA256SUMS beside the bundle: $dir" "give the folder that repobuild bundle wrote"
head -c 1048576 "$dir/SHA256SUMS" >"$work/sums"
! grep -Evq '^[0-9a-f]{64}  [A-Za-z0-9][A-Za-z0-9._+~-]{0,199}$' "$work/sums" && [ -s "$work/sums" ] &&
    [ -z "$(cut -c 67- "$work/sums" | sort | uniq -d)" ] || die 3 "not what repobuild writes: $dir/SHA256SUMS"
listed() { awk -v name="$1" '$2 == name { print $1 }' "$work/sums"; } # NAME: print the sha256 it has to have
cut -c 67- "$work/sums" | sed -n 's/\.gpg$//p' >"$work/names"
! grep -Evqx "$names" "$work/names" || die 3 "not a name of a key file: $dir/SHA256SUMS"

again() { # NAMES PART...: a run of this script for the first of them; it publishes when the runs for the others have
    turn=$1 && shift
    # shellcheck disable=SC2086  # flags are words
    sh "$0" --home "$home" --root "${root:-/}" ${key:+--key "$key"} ${trust:+--trust "$trust"} $flags \
        --among "$turn" -- "$dir" "$@"
}
one_by_one() { # FILE of names, PART...: install these repositories
    turns=$(tr '\n' ' ' <"$1") clients=$(sed "s/\$/-local.$ending/" "$1") code=0 && shift
    [ -z "$http" ] || die 2 "which repository is at $http: $turns" "--name NAME"
    again "${turns% }" "$@" || code=$?
    [ $code -ne 66 ] || die 2 "no part for this machine, which is $host: $dir" "name the parts, with --any-target"
    [ $code -ne 0 ] || [ -z "$replace" ] || has --dry-run || move_aside "$clients"
    quit $code
}
wanted=$name after='' pinned='' beside=''
[ "$among" = "$name" ] || after=${among#* } # the names whose runs come before what this one publishes
[ -n "$wanted" ] || [ "$(wc -l <"$work/names")" -le 1 ] || one_by_one "$work/names" "$@" # each has its own key
name=${wanted:-$(cat "$work/names")} && name=${name:-pigsty}
! one_of "$name" "$(cat "$work/names")" || beside=$name.gpg
mkdir "$work/keys"
if [ -e "$dir/SHA256SUMS.asc" ]; then
    head -c 1048576 "$dir/SHA256SUMS.asc" >"$work/asc"
    [ -z "$beside" ] || head -c 1048576 "$dir/$beside" >"$work/keys/$beside" || die 2 "missing: $dir/$beside"
    installed=$root$home/$name/$name.gpg
    if [ -n "$key" ]; then
        by=$work/key && [ -f "$key" ] || die 2 "no such key: $key"
        cat <"$key" >"$by" || die 7 "no permission to read it, or no space to copy it: $key"
        [ "$(head -c 5 "$by")" != ----- ] ||
            tr -d '\r' <"$key" | sed '/^-/d;/^=/d;/^$/d;/: /d' | base64 -d >"$by" || die 2 "not an armoured key: $key"
    elif [ -z "$trust" ] && [ -f "$installed" ] && ! anybodys "$root$home" "${installed%/*}" "$installed" -prune; then
        by=$installed pinned=1 # it vouches for no other repository
    else
        by=$work/keys/$beside
    fi
    [ -f "$by" ] || die 3 "there is no key to verify the signature with" "--key FILE"
    found=$(signers "$by")
    [ -n "$found" ] ||
        die 3 "not signed by ${key:-$by}, or SHA256SUMS is being written or damaged: $(tail -n 1 "$work/said")" \
            "copy the folder again; look at the clock; a new key needs --trust FINGERPRINT or --key FILE"
    [ -z "$trust" ] || one_of "$trust" "$found" || die 3 "signed by another key than --trust says: $found"
    if [ "$by" = "$work/keys/$beside" ] && [ -z "$trust" ]; then
        signer=$(say "$found" | head -n 1)
        [ -t 0 ] || die 3 "signed by a key that nobody vouches for: $signer" "compare it, then: --trust $signer"
        printf 'Signed by %s\nIf that is the key you expect, type its last 8 digits: ' "$signer" && read -r answer
        [ "$(say "$answer" | tr a-f A-F)" = "${signer#"${signer%????????}"}" ] || die 3 "not trusted: $signer"
    fi
    [ -z "$beside" ] || [ "$(sha256 "$work/keys/$beside")" = "$(listed "$beside")" ] || die 3 "damaged: $dir/$beside"
elif ! has --allow-unsigned || [ -n "$key$trust" ]; then
    die 3 "not signed: there is no $dir/SHA256SUMS.asc" "--allow-unsigned"
fi
if [ -n "$http" ]; then
    [ ! -s "$work/names" ] || [ -n "$beside" ] || die 2 "SHA256SUMS lists no key of that name: --name $name"
    ! has --dry-run || { say "would use $http" && exit; }
    use http "$work/keys" "$http"
    exit
fi

# ---- 4. The parts: each proven by its digest before it is opened, its members compared with its contents -------------

mkdir "$work/in"
fits="\.$os(\.[0-9]+)?\.${host##*.}\.(.*\.)?(tgz|tar|tar\.zst)$"
{ [ $# -gt 0 ] && printf '%s\n' "$@" || cut -c 67- "$work/sums" | grep -E "$fits" || :; } >"$work/asked"
while IFS= read -r each; do
    case $each in /*) ;; */*) each=$PWD/$each ;; *) each=$dir/$each ;; esac
    [ -f "$each" ] || { [ $# -eq 0 ] && continue || die 2 "missing: $each"; }
    ln -s "$each" "$work/in/${each##*/}" || die 2 "given twice: ${each##*/}"
    say "${each##*/}"
done <"$work/asked" >"$work/parts"

plain() { case $1 in *.tgz) gzip -dc ;; *.zst) zstd -dcq ;; *) cat ;; esac <"$work/in/$1"; } # PART: print it as tar
give() { # PART COMMAND...: give it to a command; a failure on either side of the pipe is one
    from=$1 && shift && rm -f "$work/broken"
    { plain "$from" 2>"$work/said" || : >"$work/broken"; } |
        { "$@" 2>>"$work/said" || : >"$work/broken" && cat >/dev/null; }
    [ ! -e "$work/broken" ]
}
members() { tar -tvf - >"$work/list"; }

# Contents have a line a file, and in the last one what the bundle is; nothing that does not look just so is taken.
h='[0-9a-f]{64}' n='(0|[1-9][0-9]{0,12})' word='"([A-Za-z0-9._+~-]*)"'
line='s/^\{"in":'$n',"kind":"(index|payload|pointer|marker)","path":"([A-Za-z0-9_+~%@=^][A-Za-z0-9._+~%@=^:,/-]*)"'
line=$line',"sha256":"('$h')","size":'$n',"upstream":"[!-~]*","verify":"[a-z]*"\},?$/\1 \2 \4 \5 \3/p'
last='/\} /d
$s/,"older":(null|\{[^{}]*\}),"part"/,"part"/
$s/^\],"format":3(,.*),"repositories":\["([A-Za-z0-9._+~-]*"[A-Za-z0-9._+~",-]*)"\](,"sequence".*)/],"format":2\1\3 \2/
$s/^\],"format":2,"installer":"('$h')","kind":"(whole|volume|delta)","lock":"'$h'","name":'$word',"part":'$n
last=$last',"parts":'$n',"sequence":'$n',"target":'$word',"version":"[A-Za-z0-9._+~-]*"\}( .*)?$/'
last=$last'\2 \4 \5 \6 \7 \1 \3\8/p'
contents() { # PART NAME: read what a part says of a repository, and compare it with itself
    is "$names" "$2" || die 3 "not the name of a repository: $1: $2"
    of="$work/in/of $1/$2" && mkdir -p "$of"
    # The contents come first; what follows the first 64 MiB is not read.
    { plain "$1" | head -c 67108864 | tar -xOf - "$2/.repobuild/CONTENTS.json" >"$of/json"; } 2>/dev/null || :
    sed -nE "$last" "$of/json" | sed 's/","/ /g' >"$of/tail"
    sed -nE "$line" "$of/json" >"$of/files" # number of the part, kind, sha256, size, path
    read -r kind this parts sequence target installer is_of tops <"$of/tail" ||
        die 3 "not contents of a form that is known here: $1" "use the install.sh beside the bundle"
    [ "$is_of" = "$2" ] && is '[a-z]+[0-9]+(\.[0-9]+)?\.[a-z0-9_]+' "$target" ||
        die 3 "not the repository that its folder says, or not a target: $1: $is_of, $target"
    [ "$(wc -l <"$of/json")" -eq "$(($(wc -l <"$of/files") + 2))" ] && ! grep -Eq '/(\.|/|$)' "$of/files" ||
        die 3 "not a safe path, or not in the form of contents: $1"
    awk -v parts="$parts" -v kind="$kind" '
        ($2 == "marker") != ($5 == "repo_complete") || $5 in seen { bad = 1 }
        $2 == "marker" ? $1 != (kind == "whole") : $1 > parts || !$1 && kind != "delta" { bad = 1 }
        { seen[$5] }
        END { exit bad || !("repo_complete" in seen) }' "$of/files" ||
        die 3 "a file twice or in the wrong part, or not one marker: $1: $2"
}
look() { # PART: prove its digest, then compare its list of members with what its contents say
    mkdir "$work/in/of $1"
    should=$(listed "$1") digest=$(sha256 "$work/in/$1")
    if [ "$digest" != "$should" ] && # or it was renamed
        { [ -n "$should" ] || ! grep -q "^$digest  " "$work/sums"; }; then
        [ "$(tail -c 512 "$work/in/$1" | tr -d '\0' | wc -c)" -gt 0 ] ||
            die 3 "not what SHA256SUMS says, and it ends in zeros: $1" "copy the original, or: repobuild install"
        die 3 "damaged or forged, not what SHA256SUMS says: $1" "copy it again"
    fi
    give "$1" members || die 3 "not a sound archive: $1: $(tail -n 1 "$work/said")"
    ! grep -Evq '^(-rw-r--r--|drwxr-xr-x) ' "$work/list" || die 3 "a member that is no plain file or folder: $1"
    first=$(head -n 1 "$work/list") && first=${first##* }
    is "$names/\.repobuild/CONTENTS\.json" "$first" || die 3 "not a bundle: $1: $first"
    contents "$1" "${first%%/*}"
    common="$kind $target $installer $tops" all=${tops:-$is_of}
    say "$all" | tr ' ' '\n' >"$work/tops"
    [ -z "$tops" ] || [ "$kind ${tops%% *}" = "whole $is_of" ] && [ "$(wc -l <"$work/tops")" -le 16 ] &&
        [ -z "$(sort "$work/tops" | uniq -d)" ] || die 3 "not repositories that one file can hold: $1: $all"
    for top in $all; do
        contents "$1" "$top"
        [ "$kind $target $installer $tops" = "$common" ] || die 3 "contents of two bundles in one file: $1: $top"
        for each in CONTENTS.json CONTENTS.sha256 install.sh; do say "- - $top/.repobuild/$each"; done
        awk -v top="$top" -v part="$this" '
            { for (path = top "/" $5; sub("/[^/]*$", "", path);) print "d - " path "/" }
            $1 == part { print "-", $4, top "/" $5 }
            END { print "d - " top "/.repobuild/" }' "$of/files"
        [ -n "$wanted" ] && [ "$top" != "$wanted" ] || say "$sequence $kind $top $1" >>"$work/looked"
    done >"$work/should"
    sort -u "$work/should" >"$work/wanted" # type, size where it is known, name
    awk '{ type = substr($1, 1, 1); own = $6 ~ "^[^/]*/[.]repobuild/"; if (NF != 6) $6 = "a strange name" }
        { print type, (type == "d" || own ? "-" : $3), $6 }' "$work/list" | sort >"$work/found"
    cmp -s "$work/wanted" "$work/found" ||
        die 3 "not what its contents say: $1: $(sort "$work/wanted" "$work/found" | uniq -u | head -n 1)"
    mv "$work/list" "$work/in/of $1/" && say "$digest" >"$work/in/of $1/digest"
}
others_first() { # PART...: let the runs for the other names publish; 66 says that none of them has a part
    code=66
    [ -z "$after" ] || { code=0 && again "$after" "$@" || code=$?; }
}
: >"$work/looked"
while read -r part; do look "$part"; done <"$work/parts"
cut -d ' ' -f 3 "$work/looked" | sort -u >"$work/names"
if [ ! -s "$work/looked" ]; then
    [ -z "$among" ] || { others_first "$@" && quit $code; }
    die 2 "no part for this machine, which is $host${wanted:+, of $wanted}: $dir" "name the parts, with --any-target"
fi
[ -z "$beside$pinned" ] || [ "$(cat "$work/names")" = "$name" ] ||
    die 3 "a key for $name, and a repository of another name: $(tr '\n' ' ' <"$work/names")"
[ "$(wc -l <"$work/names")" -eq 1 ] || one_by_one "$work/names" "$@"
name=$(cat "$work/names")
if [ $# -eq 0 ]; then # the newest that is whole, else the newest delta
    { grep -v '^[0-9]* delta ' "$work/looked" || cat "$work/looked"; } | sort -k 1,1nr -k 2,2r |
        awk 'NR == 1 { time = $1; kind = $2 } NR == 1 || kind == "volume" && $1 == time && $2 == kind' >"$work/chosen"
    grep -Fvx -f "$work/chosen" "$work/looked" | sed 's/^[^ ]* [^ ]* [^ ]* /left out, name it to take it: /' || :
    mv "$work/chosen" "$work/looked"
fi
cut -d ' ' -f 4- "$work/looked" >"$work/parts"

: >"$work/seen"
while read -r part; do
    of="$work/in/of $part/$name"
    read -r kind this parts sequence target installer is_of tops <"$of/tail"
    sed '$s/,"part":[0-9]*,/,/' "$of/json" >"$work/json"
    [ -s "$work/seen" ] || cp "$work/json" "$work/first"
    cmp -s "$work/json" "$work/first" ||
        die 3 "parts of several bundles: $(tr '\n' ' ' <"$work/parts")" "sh install.sh FOLDER PART..., those of one"
    ! one_of "$this" "$(cat "$work/seen")" || die 3 "given twice: part $this"
    say "$this" >>"$work/seen"
done <"$work/parts"
cp "$of/files" "$work/files"
this=0
while [ $((this += 1)) -le "$parts" ]; do
    one_of "$this" "$(cat "$work/seen")" ||
        die 2 "still missing: volume $this of $parts: $(tail -n 1 "$work/parts" | sed "s/\.vol[0-9]*\./.vol$this./")"
done

# ---- 5. Where it goes: never over anything newer, never through a link, never over a folder that is none of ours -----

folder=$home/$name
if [ "${target%%.*}.${target##*.}" != "$host" ]; then
    has --any-target || die 2 "made for $target, and this machine is $host" "to keep it for others: --any-target"
    folder=$home/$target/$name
fi
place "$folder"
guard
[ -e "$tree/repo_complete" ] || [ -e "$tree/.repobuild" ] || [ -z "$(find "$tree" ! -type d 2>/dev/null)" ] ||
    die 7 "this folder holds files, but is no repository: $tree" "move it away"
no_older() { # asked once more under the lock: another run may have installed something newer meanwhile
    before=$(sed -nE 's/^"time": ([0-9]{1,11}),?$/\1/p' "$tree/repobuild.lock" 2>/dev/null | head -n 1)
    [ "${before:-0}" -le "$sequence" ] || has --allow-older ||
        die 3 "older than what is installed: $tree: $(when "$sequence") before $(when "$before")" "--allow-older"
}
when() { date -u -d "@$1" '+%Y-%m-%d %H:%M:%S' 2>/dev/null || say "$1"; } # SECONDS
no_older
[ "$(date +%s)" -ge "$sequence" ] ||
    say "WARNING: the clock ($(date)) is behind the repository, and apt refuses what is from the future: set it" >&2

# FILE of digests: whether the repository in place has all that it lists
here() { [ -d "$tree" ] && (cd "$tree" && sha256sum -c "$1") >"$work/said" 2>/dev/null; }
awk '{ print $3 "  " $5 }' "$work/files" | sort -k 2 >"$work/digests"
awk '!$1 && $2 != "marker" { print $3 "  " $5 }' "$work/files" >"$work/base"
[ ! -s "$work/base" ] || [ -d "$tree" ] || die 3 "a delta, and nothing to build on is here: $tree" "the whole bundle"
[ ! -s "$work/base" ] || here "$work/base" ||
    die 3 "what this delta builds on is not here: $(grep -v ': OK$' "$work/said" | head -n 1)" \
        "sh install.sh --have >have.txt, and on the other side: repobuild bundle --since have.txt"

# ---- 6. Unpack beside it, prove every file, publish in one step ------------------------------------------------------

exchange() { # swap two folders in one instant; fails where tools, kernel or file system cannot
    case $(uname -m) in x86_64) call=316 ;; aarch64) call=276 ;; *) return 1 ;; esac
    mv --exchange -T "$1" "$2" ||
        perl -e 'exit(syscall(0 + shift, -100, shift, -100, shift, 2) != 0)' "$call" "$1" "$2" ||
        python3 -c 'import ctypes as c, os, sys; a, b = map(os.fsencode, sys.argv[1:])
sys.exit(c.CDLL(None).renameat2(-100, a, -100, b, 2) != 0)' "$1" "$2"
} 2>/dev/null
no_links() {
    link=$(find "$tree" -type l | head -n 1)
    [ -z "$link" ] || die 7 "a symbolic link is in the repository: $link" "remove it"
}
replace_files() { # one by one, payload first and pointers last, so that clients see the old indexes or the new ones
    sed -n 's/^[0-9a-f]*  //p' "$tree/repo_complete" >>"$area/leaving-sh" 2>/dev/null || :
    for each in payload index pointer marker; do
        awk -v kind="$each" '$2 == kind { print $5 }' "$work/files" >"$work/moving"
        while read -r path; do
            mkdir -p "$tree/${path%"${path##*/}"}"
            mv -f "$new/$path" "$tree/$path"
        done <"$work/moving"
        flush "$tree"
    done
    cp "$new/.repobuild"/* "$tree/.repobuild/"
    cut -d ' ' -f 5 "$work/files" >"$work/moving"
    grep -Fvx -f "$work/moving" "$area/leaving-sh" | grep -Ev '(^|/)(\.|/|$)' |
        while read -r path; do [ -L "$tree/${path%/*}" ] || rm -f "$tree/$path"; done
    here "$work/digests" || die 7 "not everything could be put in place, run this again: $tree"
    rm -f "$area/leaving-sh"
}
serial() { # TREE: print its number in repobuild's count of generations
    sed -nE 's/^ "serial": ([0-9]{1,15}),?$/\1/p' "$1/.repobuild/generation.json" 2>/dev/null | head -n 1
}
settle() { # as repobuild does: `next` is the former generation, or a tree that was not published before a kill
    rm -rf "$area"/incoming-sh.*
    [ -e "$area/next" ] || return 0
    if [ -e "$area/next/repo_complete" ] && ! cmp -s "$area/next/repo_complete" "$tree/repo_complete" &&
        { was=$(serial "$area/next") && [ -z "$was" ] || now=$(serial "$tree") && [ "$was" -lt "${now:-0}" ]; }; then
        rm -rf "$area/previous" && mv "$area/next" "$area/previous"
    else
        rm -rf "$area/next"
    fi
}
generation() { # print repobuild's record of the new tree; it tells a tree that waits from the former one
    now=$(serial "$tree") && was=$(serial "$area/previous")
    [ "${now:-0}" -ge "${was:-0}" ] || now=$was
    printf '{\n "carried": {},\n "format": 1,\n "marker": "%s",\n "metadata": [' "$(sha256 "$new/repo_complete")"
    awk '$2 != "payload" { print $5 }' "$work/files" | sort |
        awk '{ printf "%s\n  \"%s\"", (NR > 1 ? "," : ""), $0 }'
    printf '\n ],\n "serial": %d,\n "time": %d\n}\n' "$((${now:-0} + 1))" "$sequence"
}

has --dry-run || { hold; guard; settle; no_older; }
need=''
if [ ! -e "$area/leaving-sh" ] && here "$work/digests"; then
    say "already here: $tree"
else
    need=$(while read -r part; do wc -c <"$work/in/$part"; done <"$work/parts" | sort -n | tail -n 1)
    need=$(awk -v sum="$need" '$1 { sum += $4 } END { printf "%.0f", sum / 1000 }' "$work/files")
    on=$area
    while [ ! -d "$on" ]; do on=${on%/*}; done # in a dry run
    free=$(df -Pk "${on:-/}" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$need" ] || die 7 "no space: $need kB are needed, $free are free: $area" "free some, or --home DIR"
fi
if [ -n "$need" ] && has --dry-run; then
    say "would install $(wc -l <"$work/files") files for $target, made at $sequence, over ${before:-nothing}: $tree"
elif [ -n "$need" ]; then
    staging=$(mktemp -d "$area/incoming-sh.XXXXXX") || die 7 "cannot be written: $area"
    new=$staging/$name
    while read -r part; do # from one copy that nobody else can change: a stick may give other bytes the second time
        cat <"$work/in/$part" >"$staging/part" && ln -sf "$staging/part" "$work/in/$part" ||
            die 7 "cannot be copied, for lack of space perhaps: $part"
        [ "$(sha256 "$staging/part")" = "$(cat "$work/in/of $part/digest")" ] && give "$part" members &&
            cmp -s "$work/list" "$work/in/of $part/list" || die 3 "changed while it was read: $part" "copy it again"
        give "$part" tar -xof - -C "$staging" "$name" || die 7 "cannot be unpacked: $part: $(tail -n 1 "$work/said")"
        cmp -s "$new/.repobuild/CONTENTS.json" "$work/in/of $part/$name/json" ||
            die 3 "unpacked to other contents: $part"
        rm -f "$staging/part"
    done <"$work/parts"
    { awk '$1 { print $5 }' "$work/files" && cd "$new" && ls .repobuild/*; } | sort >"$work/wanted"
    (cd "$new" && find . ! -type d) | sed 's|^\./||' | sort | cmp -s - "$work/wanted" &&
        cmp -s "$work/digests" "$new/.repobuild/CONTENTS.sha256" || die 3 "unpacked to something else than it listed"
    [ "$kind" != delta ] || no_links
    copy=''
    ! anybodys "$tree" ! -type l && [ -z "$(find "$tree" ! -user "$(id -u)" 2>/dev/null | head -n 1)" ] || copy=1
    cut -c 67- "$work/base" | while read -r path; do
        mkdir -p "$new/${path%"${path##*/}"}"
        [ -z "$copy" ] && ln "$tree/$path" "$new/$path" 2>/dev/null ||
            { cp "$tree/$path" "$new/$path" && touch -r "$tree/$path" "$new/$path"; } || die 7 "cannot be copied: $path"
    done
    [ -z "$(find "$staging" ! -type f ! -type d)" ] || die 3 "not only files and folders"
    if [ "$kind" != whole ]; then
        grep -v '  repo_complete$' "$work/digests" >"$new/repo_complete"
        touch -r "$new/.repobuild/CONTENTS.sha256" "$new/repo_complete"
    fi
    (cd "$new" && say "$installer  .repobuild/install.sh" | sha256sum -c - "$work/digests") >"$work/said" 2>&1 ||
        die 3 "not what the contents say: $(grep -v ': OK$' "$work/said" | head -n 1)"
    generation >"$new/.repobuild/generation.json"
    flush "$staging"
fi
others_first "$@"
[ $code -eq 0 ] || [ $code -eq 66 ] || quit $code
! has --dry-run || exit 0
if [ -n "$staging" ]; then
    if [ ! -e "$tree" ]; then
        mv "$new" "$tree"
    elif [ -z "$is_mount" ] && mv "$new" "$area/next" && exchange "$area/next" "$tree"; then
        flush "$parent"
        settle # to where repobuild rollback looks for it
        staging=''
    else
        [ ! -e "$area/next" ] || mv "$area/next" "$new"
        no_links
        mkdir -p "$tree/.repobuild"
        replace_files
    fi
    ! command -v restorecon >/dev/null || restorecon -R "$parent" || :
    flush "$tree"
    say "installed $target, made at $sequence: $tree"
fi

# ---- 7. Clients ------------------------------------------------------------------------------------------------------

url=$(sed -nE 's/^"endpoint": "([^"]*)",?$/\1/p' "$tree/repobuild.lock" | head -n 1)
case $url in http://*) url=${url%:80} ;; *) url=${url%:443} ;; esac
case $target in el*) ending_there=repo ;; *) ending_there=list ;; esac
for each in gpg asc; do [ ! -e "$tree/$name.$each" ] || put "$tree.$each" <"$tree/$name.$each"; done
client_text local "$target" "$tree" "file://$folder" | put "$tree-local.$ending_there"
client_text http "$target" "$tree" "$url${folder#"$home"}" | put "$tree.$ending_there"
for each in "$tree.sources" "$tree-local.sources"; do # repobuild wrote them; a key that is inside may be an older one
    sed 's/^$/./;s/^/ /' "$tree/$name.asc" 2>/dev/null >"$work/inside" || :
    ! grep -q '^ -----BEGIN' "$each" 2>/dev/null ||
        sed '1,/^Signed-By:$/d' "$each" | cmp -s - "$work/inside" || rm -f "$each"
done
flush "$parent"
[ "$folder" != "$home/$name" ] || use local "$tree" "file://$folder"
