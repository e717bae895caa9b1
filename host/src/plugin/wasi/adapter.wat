;; What a core module gets for `wasi_snapshot_preview1`, which the runtimes of C and Go import
;; whether or not a program uses it. Nothing of the outside is in it: the clock stands still,
;; random bytes are all alike, and there is no file, argument or variable. What is printed goes to
;; the host, piece by piece, which makes lines of the plugin's log of it.
;;
;; adapter.wasm is made from this text, stdio.wit and wit/; tests/it/wasi.rs compares them, and says
;; how to make it anew.
;;
;; It keeps nothing in the module's memory, for no place there is free: Go takes what lies between
;; its data and the end of the memory for its heap, and takes it that nobody else grows the memory.
;;
;; No function but `fd_write` calls the host. While the host passes arguments it calls the module's
;; allocator, which in Go runs the scheduler, which reads the clock; and a component must not call
;; out then. An adapter whose clock is an import traps there.
(module
  (import "projectionist:wasi/stdio" "write" (func $write (param i32 i32 i32)))
  (import "env" "memory" (memory 0))

  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32)
      (param $written i32) (result i32)
    (local $length i32) (local $total i32)
    ;; Only standard output (1) and standard error (2) are open.
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1))
      (then (return (i32.const 8)))) ;; EBADF
    (block $done
      (loop $piece
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $length (i32.load offset=4 (local.get $pieces)))
        (call $write (local.get $fd) (i32.load (local.get $pieces)) (local.get $length))
        (local.set $total (i32.add (local.get $total) (local.get $length)))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $piece)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  ;; Ends the instance. The host logs what was printed without a line's end.
  (func (export "proc_exit") (param i32) unreachable)

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
