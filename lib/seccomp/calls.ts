/**
 * Every system call that the name table knows, sorted by what our default profiles do with it. A test fails when a name of the table
 * stands in none of the lists, or in two, so a new call is a decision and not an accident.
 */

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/)
}

/** Processes, memory, files, time, polling, signals: what every program may do, in both profiles. */
export const EVERYDAY = words(`
  brk fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill getpid getppid gettid getpgid getpgrp
  setpgid getsid setsid pidfd_open pidfd_send_signal process_mrelease prctl arch_prctl modify_ldt seccomp rseq membarrier
  restart_syscall set_tid_address set_robust_list get_robust_list set_thread_area get_thread_area uretprobe uname sysinfo umask
  times getcpu getrusage getrlimit ugetrlimit setrlimit prlimit64 getpriority setpriority ioprio_get ioprio_set
  sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler
  sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64
  landlock_create_ruleset landlock_add_rule landlock_restrict_self

  getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32 getgroups
  getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32
  setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset

  rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
  rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn signalfd signalfd4 pause alarm

  mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall remap_file_pages mseal
  map_shadow_stack memfd_create pkey_alloc pkey_free pkey_mprotect
  futex futex_time64 futex_wait futex_wake futex_requeue futex_waitv

  open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv preadv2 pwritev pwritev2 lseek _llseek
  dup dup2 dup3 fcntl fcntl64 flock fsync fdatasync sync syncfs sync_file_range truncate truncate64 ftruncate ftruncate64 fallocate
  fadvise64 fadvise64_64 readahead sendfile sendfile64 copy_file_range splice tee pipe pipe2 cachestat
  access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64
  statmount listmount readlink readlinkat getcwd chdir fchdir mkdir mkdirat rmdir link linkat symlink symlinkat unlink unlinkat
  rename renameat renameat2 getdents getdents64 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32
  fchownat utime utimes utimensat utimensat_time64 futimesat
  getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr listxattrat
  removexattr lremovexattr fremovexattr removexattrat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch

  select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
  epoll_pwait2 eventfd eventfd2 io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64

  time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep clock_nanosleep_time64 nanosleep
  getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
  timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
  mq_open mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64

  bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt shutdown send sendto sendmsg sendmmsg recv
  recvfrom recvmsg recvmmsg recvmmsg_time64 getrandom

  arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls get_tls riscv_flush_icache riscv_hwprobe
  s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr swapcontext
`)

/** Reads the clock's state, or sets it: that needs CAP_SYS_TIME, which neither profile has, and the difference is behind a pointer. */
export const CLOCK_STATE = words('adjtimex clock_adjtime clock_adjtime64')

/** System V IPC, kept apart by the IPC namespace. */
export const SYSTEM_V_IPC = words(`
  ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
`)

/** What an init, its services and their administrator need within their own namespaces: the system profile only. */
export const ADMINISTRATION = words(`
  mount umount umount2 pivot_root chroot mknod mknodat setns unshare clone3 sethostname setdomainname reboot vhangup
  ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd quotactl quotactl_fd fanotify_init fanotify_mark
  name_to_handle_at get_mempolicy set_mempolicy set_mempolicy_home_node mbind memfd_secret vmsplice
  lsm_get_self_attr lsm_set_self_attr lsm_list_modules
`)

/** File systems by the descriptor API of Linux 5.2: a filter cannot see their types, so they are opened by `nesting` only. */
export const MOUNT_API = words('fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr')

/** Both profiles decide by the arguments. */
export const CONDITIONAL = words('clone ioctl personality socket socketcall socketpair userfaultfd')

/** Refused with EPERM, in both: the kernel itself, its keys, its clock, its raw memory and devices, and its largest surfaces. */
export const FORBIDDEN = words(`
  acct add_key bpf clock_settime clock_settime64 create_module delete_module finit_module get_kernel_syms init_module
  io_uring_enter io_uring_register io_uring_setup ioperm iopl kexec_file_load kexec_load keyctl lookup_dcookie migrate_pages
  move_pages nfsservctl open_by_handle_at pciconfig_iobase pciconfig_read pciconfig_write perf_event_open query_module request_key
  settimeofday stime swapoff swapon syslog uprobe vm86 vm86old
`)

/** Answered with ENOSYS, as by a kernel that lacks them: obsolete, never finished, of one machine, or newer than C libraries expect. */
export const ABSENT = words(`
  _sysctl afs_syscall bdflush break cachectl epoll_ctl_old epoll_wait_old file_getattr file_setattr ftime getpmsg gtty idle lock mpx
  multiplexer nice oldfstat oldlstat oldolduname oldstat olduname prof profil putpmsg readdir rtas s390_guarded_storage s390_sthyi
  security sgetmask sigaction signal sigpending sigsuspend spu_create spu_run ssetmask stty subpage_prot switch_endian
  sys_debug_setcontext syscall sysfs sysmips timerfd tuxcall ulimit uselib usr26 usr32 ustat vserver
`)
