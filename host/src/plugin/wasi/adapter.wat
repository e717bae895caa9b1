;; What a core module gets for `wasi_snapshot_preview1`, which the runtimes of C and Go import
;; whether or not a program uses it. Nothing of the outside is in it: the clock stands still,
;; random bytes are all alike, and there is no file, argument or variable. What is printed goes to
;; the plugin's log.
;;
;; adapter.wasm is made from this text and wit/; tests/it/wasi.rs compares them, and says how to
;; make it anew.
;;
;; No function but `fd_write` and `proc_exit` calls the host. While the host passes arguments it
;; calls the module's allocator, which in Go runs the scheduler, which reads the clock; and a
;; component must not call out then. An adapter whose clock is an import traps there.
(module
  (import "projectionist:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "env" "memory" (memory 0))

  ;; wit-component knows the global by its name, and sets it to the end of a page that it adds to
  ;; the module's memory before any of the module's code runs. Growing the memory later would put
  ;; the page where Go's heap is going to be. As there is no global "allocation_state", the
  ;; module's own allocator is not asked: it may not be ready yet.
  ;;
  ;; The page's last 16 KiB, for file descriptors 1 and 2: how many bytes of a line there are, as
  ;; a word at 4 times the descriptor, and the bytes, at 4,096 times the descriptor.
  (global $__stack_pointer (mut i32) (i32.const 0))

  (func $state (result i32)
    (i32.sub (global.get $__stack_pointer) (i32.const 16384)))

  (func $length_at (param $fd i32) (result i32)
    (i32.add (call $state) (i32.shl (local.get $fd) (i32.const 2))))

  (func $line_at (param $fd i32) (result i32)
    (i32.add (call $state) (i32.shl (local.get $fd) (i32.const 12))))

  (func $is_between (param $byte i32) (param $low i32) (param $high i32) (result i32)
    (i32.le_u
      (i32.sub (local.get $byte) (local.get $low))
      (i32.sub (local.get $high) (local.get $low))))

  ;; The length of the UTF-8 character at an address, 0 where there is none. Table 3-7 of the
  ;; Unicode standard. May look at up to 3 bytes behind the line, which lie in the page.
  (func $character (param $at i32) (param $end i32) (result i32)
    (local $first i32) (local $size i32) (local $low i32) (local $high i32)
    (local.set $first (i32.load8_u (local.get $at)))
    (if (i32.lt_u (local.get $first) (i32.const 0x80)) (then (return (i32.const 1))))
    (local.set $low (i32.const 0x80))
    (local.set $high (i32.const 0xbf))
    (if (call $is_between (local.get $first) (i32.const 0xc2) (i32.const 0xdf))
      (then (local.set $size (i32.const 2))))
    (if (call $is_between (local.get $first) (i32.const 0xe0) (i32.const 0xef))
      (then (local.set $size (i32.const 3))))
    (if (call $is_between (local.get $first) (i32.const 0xf0) (i32.const 0xf4))
      (then (local.set $size (i32.const 4))))
    (if (i32.eq (local.get $first) (i32.const 0xe0)) (then (local.set $low (i32.const 0xa0))))
    (if (i32.eq (local.get $first) (i32.const 0xed)) (then (local.set $high (i32.const 0x9f))))
    (if (i32.eq (local.get $first) (i32.const 0xf0)) (then (local.set $low (i32.const 0x90))))
    (if (i32.eq (local.get $first) (i32.const 0xf4)) (then (local.set $high (i32.const 0x8f))))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (local.get $end))
      (then (return (i32.const 0))))
    (if (i32.eqz
          (call $is_between
            (i32.load8_u offset=1 (local.get $at)) (local.get $low) (local.get $high)))
      (then (return (i32.const 0))))
    (if (i32.ge_u (local.get $size) (i32.const 3))
      (then
        (if (i32.eqz
              (call $is_between
                (i32.load8_u offset=2 (local.get $at)) (i32.const 0x80) (i32.const 0xbf)))
          (then (return (i32.const 0))))))
    (if (i32.eq (local.get $size) (i32.const 4))
      (then
        (if (i32.eqz
              (call $is_between
                (i32.load8_u offset=3 (local.get $at)) (i32.const 0x80) (i32.const 0xbf)))
          (then (return (i32.const 0))))))
    (local.get $size))

  ;; The contract's strings are UTF-8, and one that is not ends the instance; printed bytes can be
  ;; anything. What is no character becomes "?".
  (func $repair (param $at i32) (param $end i32)
    (local $size i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $size (call $character (local.get $at) (local.get $end)))
        (if (i32.eqz (local.get $size))
          (then
            (i32.store8 (local.get $at) (i32.const 0x3f))
            (local.set $size (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (local.get $size)))
        (br $next))))

  ;; Standard output is logged as "info" (2), standard error as "error" (4). Empty lines are not.
  (func $flush (param $fd i32)
    (local $line i32) (local $length i32)
    (local.set $line (call $line_at (local.get $fd)))
    (local.set $length (i32.load (call $length_at (local.get $fd))))
    (if (i32.eqz (local.get $length)) (then (return)))
    (call $repair (local.get $line) (i32.add (local.get $line) (local.get $length)))
    (i32.store (call $length_at (local.get $fd)) (i32.const 0))
    (call $log
      (i32.shl (local.get $fd) (i32.const 1)) (local.get $line) (local.get $length)))

  ;; A line of more than 4,096 bytes, which is what the host takes, becomes several.
  (func $put (param $fd i32) (param $byte i32)
    (local $length i32)
    (if (i32.eq (local.get $byte) (i32.const 0x0a))
      (then (call $flush (local.get $fd)) (return)))
    (if (i32.eq (i32.load (call $length_at (local.get $fd))) (i32.const 4096))
      (then (call $flush (local.get $fd))))
    (local.set $length (i32.load (call $length_at (local.get $fd))))
    (i32.store8
      (i32.add (call $line_at (local.get $fd)) (local.get $length)) (local.get $byte))
    (i32.store
      (call $length_at (local.get $fd)) (i32.add (local.get $length) (i32.const 1))))

  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32)
      (param $written i32) (result i32)
    (local $at i32) (local $end i32) (local $total i32)
    (if (i32.eqz (call $is_between (local.get $fd) (i32.const 1) (i32.const 2)))
      (then (return (i32.const 8)))) ;; EBADF
    (block $done
      (loop $piece
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $at (i32.load (local.get $pieces)))
        (local.set $end
          (i32.add (local.get $at) (i32.load offset=4 (local.get $pieces))))
        (local.set $total
          (i32.add (local.get $total) (i32.load offset=4 (local.get $pieces))))
        (block $written_out
          (loop $byte
            (br_if $written_out (i32.ge_u (local.get $at) (local.get $end)))
            (call $put (local.get $fd) (i32.load8_u (local.get $at)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $byte)))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $piece)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  ;; Ends the instance; whatever was printed without a line's end is logged first.
  (func (export "proc_exit") (param i32)
    (call $flush (i32.const 1))
    (call $flush (i32.const 2))
    unreachable)

  ;; A standing clock, at the start of the year 2000: Go does not start at 0.
  (func (export "clock_time_get") (param i32 i64) (param $time i32) (result i32)
    (i64.store (local.get $time) (i64.const 946684800000000000))
    (i32.const 0))

  (func (export "clock_res_get") (param i32) (param $resolution i32) (result i32)
    (i64.store (local.get $resolution) (i64.const 1))
    (i32.const 0))

  ;; Always the same, so that a runtime's hash tables are ordered alike in every instance.
  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (memory.fill (local.get $at) (i32.const 0x55) (local.get $length))
    (i32.const 0))

  (func $two_zeros (param $one i32) (param $other i32) (result i32)
    (i32.store (local.get $one) (i32.const 0))
    (i32.store (local.get $other) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $two_zeros))
  (export "environ_sizes_get" (func $two_zeros))

  (func $nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))

  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; Standard output and error are terminals (2) that may be written to (right 6), so that libc
  ;; hands over each line as it ends.
  (func (export "fd_fdstat_get") (param $fd i32) (param $stat i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8)))) ;; EBADF
    (memory.fill (local.get $stat) (i32.const 0) (i32.const 24))
    (i32.store8 (local.get $stat) (i32.const 2))
    (i64.store offset=8 (local.get $stat) (i64.const 0x40))
    (i32.const 0))

  ;; Every sleep is over at once; no descriptor (subscription type above 0) is open.
  (func (export "poll_oneoff") (param $asked i32) (param $events i32) (param $count i32)
      (param $answered i32) (result i32)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28)))) ;; EINVAL
    (i32.store (local.get $answered) (local.get $count))
    (loop $next
      (memory.fill (local.get $events) (i32.const 0) (i32.const 32))
      (i64.store (local.get $events) (i64.load (local.get $asked)))
      (i32.store8 offset=10 (local.get $events) (i32.load8_u offset=8 (local.get $asked)))
      (if (i32.load8_u offset=8 (local.get $asked))
        (then (i32.store16 offset=8 (local.get $events) (i32.const 8)))) ;; EBADF
      (local.set $asked (i32.add (local.get $asked) (i32.const 48)))
      (local.set $events (i32.add (local.get $events) (i32.const 32)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br_if $next (local.get $count)))
    (i32.const 0))

  ;; Nothing else is open (8, EBADF), and signals do not exist (52, ENOSYS).
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 8))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
)
