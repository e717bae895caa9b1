;; A projection that uses WASI, in the way of C's and Go's runtimes. Its configuration is a file
;; descriptor: it writes each event's value there, in a call each, and exits; 0 is for doing
;; nothing. Whatever is not as it should be ends in a trap before that.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 32768))
  (global $pages (mut i32) (i32.const 0))
  (global $fd (mut i32) (i32.const 0))

  (data (i32.const 16) "probe1.0.0lines")
  ;; The view: its name, by-key.
  (data (i32.const 64) "\1a\00\00\00\05\00\00\00\00")
  ;; The descriptor: name, version, description, encoding, views, headers, schema.
  (data (i32.const 128)
    "\10\00\00\00\05\00\00\00" "\15\00\00\00\05\00\00\00" "\10\00\00\00\00\00\00\00" "\00\00\00\00"
    "\40\00\00\00\01\00\00\00" "\10\00\00\00\00\00\00\00" "\10\00\00\00\00\00\00\00")

  (func $assert (param $holds i32)
    (if (i32.eqz (local.get $holds)) (then unreachable)))

  (func (export "_initialize") (global.set $pages (memory.size)))

  ;; Reads the clock, as Go's scheduler does in every allocation.
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (call $assert (i32.eqz (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 256))))
    (local.set $at (global.get $free))
    (global.set $free
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func (export "projectionist:plugin/projection@0.1.0#describe") (result i32) (i32.const 128))

  (func (export "projectionist:plugin/projection@0.1.0#configure")
      (param $text i32) (param i32) (result i32)
    (global.set $fd (i32.sub (i32.load8_u (local.get $text)) (i32.const 0x30)))
    ;; The clock stands, and not at 0.
    (call $assert (i32.eqz (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 256))))
    (call $assert (i32.eqz (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 264))))
    (call $assert (i64.eq (i64.load (i32.const 256)) (i64.load (i32.const 264))))
    (call $assert (i64.ne (i64.load (i32.const 256)) (i64.const 0)))
    ;; Random bytes repeat.
    (call $assert (i32.eqz (call $random_get (i32.const 272) (i32.const 8))))
    (call $assert (i32.eqz (call $random_get (i32.const 280) (i32.const 8))))
    (call $assert (i64.eq (i64.load (i32.const 272)) (i64.load (i32.const 280))))
    ;; There are no variables and no folders.
    (call $assert (i32.eqz (call $environ_sizes_get (i32.const 288) (i32.const 292))))
    (call $assert (i64.eq (i64.load (i32.const 288)) (i64.const 0)))
    (call $assert (i32.eq (call $fd_prestat_get (i32.const 3) (i32.const 296)) (i32.const 8)))
    ;; A sleep is over at once: its own mark comes back, without an error.
    (i64.store (i32.const 512) (i64.const 77))
    (call $assert
      (i32.eqz
        (call $poll_oneoff (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 704))))
    (call $assert (i64.eq (i64.load (i32.const 640)) (i64.const 77)))
    (call $assert (i32.eqz (i32.load16_u offset=8 (i32.const 640))))
    (call $assert (i32.eq (i32.load (i32.const 704)) (i32.const 1)))
    ;; Ok.
    (i32.const 1024))

  (func (export "projectionist:plugin/projection@0.1.0#project")
      (param $batch i32) (result i32)
    (local $ends i32) (local $last i32) (local $start i32)
    (if (i32.eqz (global.get $fd)) (then (return (i32.const 1024)))) ;; Ok, nothing written.
    (local.set $ends (i32.load offset=60 (local.get $batch)))
    (local.set $last
      (i32.add
        (local.get $ends)
        (i32.shl (i32.load offset=64 (local.get $batch)) (i32.const 2))))
    ;; All memory behind the data is the module's: Go's heap begins there. What this marks must stay.
    (memory.fill (i32.const 57344) (i32.const 0xa5)
      (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 57344)))
    (loop $event
      (i32.store (i32.const 768)
        (i32.add (i32.load offset=52 (local.get $batch)) (local.get $start)))
      (i32.store (i32.const 772) (i32.sub (i32.load (local.get $ends)) (local.get $start)))
      (call $assert
        (i32.eqz
          (call $fd_write (global.get $fd) (i32.const 768) (i32.const 1) (i32.const 776))))
      (call $assert (i32.eq (i32.load (i32.const 772)) (i32.load (i32.const 776))))
      (local.set $start (i32.load (local.get $ends)))
      (local.set $ends (i32.add (local.get $ends) (i32.const 4)))
      (br_if $event (i32.lt_u (local.get $ends) (local.get $last))))
    (local.set $last (i32.shl (memory.size) (i32.const 16)))
    (local.set $start (i32.const 57344))
    (loop $byte
      (call $assert (i32.eq (i32.load8_u (local.get $start)) (i32.const 0xa5)))
      (local.set $start (i32.add (local.get $start) (i32.const 1)))
      (br_if $byte (i32.lt_u (local.get $start) (local.get $last))))
    ;; Go takes it that nobody else grows the memory, neither before it runs nor later.
    (call $assert (i32.eq (memory.size) (global.get $pages)))
    (call $assert (i32.eq (memory.size) (i32.const 1)))
    (call $proc_exit (i32.const 1))
    unreachable))
