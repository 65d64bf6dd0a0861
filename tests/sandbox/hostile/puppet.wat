;; A guest that does whatever its batch says: a module with the exports of the real one, and no JavaScript in it.
;;
;; A batch is pairs of words (address, value). Each pair is a store, except at these addresses, which are deeds:
(module
  (memory (export "memory") 2 64)

  ;; The layout lies at 64 (abi, input, input_size, output, output_size, logs, logs_size, stopped, heap, end), the input
  ;; buffer at 1024 (the engine may write its own limits there), what `reserve` answers at 48.
  (data (i32.const 64) "\04\00\00\00\00\04\00\00\00\40\00\00") ;; abi 4, input 1024, input_size 16384
  (data (i32.const 48) "\00\80\00\00")
  (data (i32.const 65000) "[\"completed\",true,42,[],[]]")

  (func $recurse (param i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

  (func $deed (param $what i32) (param $value i32)
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF0)) (then unreachable))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF1)) (then (loop $l (br $l))))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF2)) (then (drop (call $recurse (i32.const 0)))))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF3)) (then (drop (memory.grow (local.get $value)))))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF4)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF5)) (then (drop (i32.trunc_f64_s (f64.const nan)))))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF6)) (then (call_indirect (type $none) (local.get $value))))
    (if (i32.eq (local.get $what) (i32.const 0xFFFFFFF7))
      (then (memory.fill (i32.const 1024) (local.get $value) (i32.const 60000)))))

  (type $none (func))
  (table 1 funcref)

  (func $act (param $size i32)
    (local $at i32) (local $end i32)
    (if (i32.load (i32.const 44)) (then return)) ;; deaf
    (local.set $at (i32.const 1024))
    (local.set $end (i32.add (i32.const 1024) (local.get $size)))
    (block $done
      (loop $next
        (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $end)))
        (if (i32.ge_u (i32.load (local.get $at)) (i32.const 0xFFFFFFF0))
          (then (call $deed (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))))
          (else (i32.store (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next))))

  (func (export "_initialize"))
  (func (export "initialize") (result i32) (i32.const 0))
  (func (export "layout") (result i32) (i32.const 64))
  (func (export "reserve") (param i32) (result i32) (i32.load (i32.const 48)))
  (func (export "compile") (param i32) (result i32) (i32.const 0))
  (func (export "compile_preload") (param i32) (result i32) (i32.const 0))
  (func (export "prelude") (param i32) (result i32) (i32.const 0))
  (func (export "preload") (param i32) (result i32) (i32.load (i32.const 52)))
  (func (export "start") (param i32) (call $act (local.get 0)))
  (func (export "resume") (param i32) (call $act (local.get 0)))
  ;; What it did last it does again when asked for its pending calls, if word 56 says so.
  (func (export "pending") (if (i32.load (i32.const 56)) (then (call $act (i32.load (i32.const 56))))))
  ;; Asked how it differs it says that it does not; or it does what it did last, and answers word 40, if word 60 says so.
  (func (export "difference") (param i32) (result i32)
    (if (i32.load (i32.const 60)) (then (call $act (i32.load (i32.const 60))) (return (i32.load (i32.const 40)))))
    (i32.store (i32.const 1024) (i32.const 0))
    (i32.const 131072))
  (func (export "patch") (param i32)))
