# The nginx that the shipped policies are compared with: this machine's, or else Debian's package,
# unpacked and not installed. Nothing is started here; the tests do that.

NGINX_CACHE=$CACHE/nginx
NGINX=$(command -v nginx || echo "$NGINX_CACHE/usr/sbin/nginx")

nginx_fetch() {
    [[ ! -x $NGINX ]] || return 0
    local log=$LOGS/nginx.log part=$NGINX_CACHE.part
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        fail "there is no nginx here, and no apt-get to fetch it; $(nginx_way_out)"
    say "fetching nginx from Debian"
    rm -rf "$part"
    mkdir -p "$part"
    nginx_download "$part" >"$log" 2>&1 || fail_with_log "$log" \
        "apt-get cannot fetch nginx; $(nginx_way_out)"
    dpkg-deb --extract "$part"/nginx_*.deb "$part" >>"$log" 2>&1 || fail_with_log "$log" \
        "the fetched package cannot be unpacked; $(nginx_way_out)"
    "$part/usr/sbin/nginx" -v >>"$log" 2>&1 || fail_with_log "$log" \
        "the fetched nginx does not run here; $(nginx_way_out)"
    rm -rf "$NGINX_CACHE"
    mv "$part" "$NGINX_CACHE"
}

# Where apt-get does not know the package, or knows one that is gone, its lists have to be read anew.
nginx_download() {
    # As root, apt-get would hand over to a user of its own, who may not be able to write here.
    local get=(apt-get --quiet=2 --option APT::Sandbox::User=root download nginx)
    cd "$1" || return
    "${get[@]}" || { apt-get update --quiet=2 && "${get[@]}"; }
}

nginx_way_out() {
    echo "install it, or name its binary in PROJECTIONIST_TEST_NGINX"
}
