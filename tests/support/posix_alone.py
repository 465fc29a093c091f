"""Tests that need what only POSIX has and are left out on Windows, and in its simulation, and why.

What Windows itself is to do instead is in tests/files/test_on_windows.py.
"""

from __future__ import annotations

_FORK = "no process is forked"
_USERS = "it acts as another user, or goes by the modes of files, which access lists replace"
_WAITING = "it makes a pipe whose reads and writes do not wait"
_PIPES = "it makes a pipe with the name of a file"
_LIMITS = "it limits or measures the files, memory or descriptors of a process"
_OPEN = "it removes, renames or replaces what is open"
_FOLDERS = "it asks when the entries of a folder are on disk, which nobody can wait for"
_BESIDE = "it counts what is in a folder, and a folder that is locked has a file beside it"
_LOOKS = "the time in a folder's entry says nothing there"
_SWAPPED = "a folder is known by its path: GUARANTEES.md says what that does not promise"
_MODES = "it asks for the mode of a file"
_TEMP = "it names the temporary folder by SQLITE_TMPDIR, which SQLite asks for on POSIX"
_ROOT = "a link in the root folder is followed where only the system can have made it"
_SERVER = "the tests' own server is started by what only POSIX has"
_SIGNALS = "it asks a process to end by a signal that Windows does not have"
_SHELL = "what it runs is for a POSIX shell"
_TERMINAL = "it makes a terminal of its own"
_TORTURE = "kills, limits and mounts are made by what only POSIX has"

POSIX_ALONE: dict[str, str] = {
    "tests/evidence/test_checkpoints.py::"
    "test_a_private_key_that_others_can_read_is_warned_of": _MODES,
    "tests/files/test_durable.py::test_a_file_is_on_disk_before_it_has_its_name": _FOLDERS,
    "tests/files/test_durable.py::"
    "test_a_folder_is_on_disk_with_all_that_is_in_it_before_it_has_its_name": _FOLDERS,
    "tests/files/test_durable.py::test_a_stream_is_on_disk_before_it_has_its_name": _FOLDERS,
    "tests/files/test_failing_calls.py::"
    "test_whatever_call_fails_no_row_is_without_its_file[import]": _BESIDE,
    "tests/files/test_hostile_files.py::test_a_link_in_the_root_folder_is_the_systems_own": _ROOT,
    "tests/files/test_hostile_files.py::"
    "test_an_image_behind_folders_that_may_only_be_entered_is_read": _USERS,
    "tests/files/test_hostile_files.py::test_hostile_paths_links_and_files_lead_nowhere": _PIPES,
    "tests/files/test_in_place.py::test_a_time_that_is_old_spares_the_looks_at_the_files": _LOOKS,
    "tests/files/test_order.py::test_a_backup_has_its_name_when_all_of_it_is_on_disk": _FOLDERS,
    "tests/files/test_order.py::test_a_restored_store_is_on_disk_before_it_is_reported": _FOLDERS,
    "tests/files/test_order.py::test_a_store_answers_when_an_image_and_its_row_are_there": _FOLDERS,
    "tests/files/test_order.py::test_a_store_imports_in_the_same_order": _FOLDERS,
    "tests/files/test_order.py::test_an_export_has_its_name_when_it_is_on_disk": _FOLDERS,
    "tests/files/test_order.py::test_an_image_is_on_disk_before_its_row": _FOLDERS,
    "tests/files/test_order.py::"
    "test_the_images_of_an_import_have_names_of_their_own_until_its_rows_are_in": _FOLDERS,
    "tests/files/test_order.py::"
    "test_the_name_of_the_wal_is_on_disk_before_the_first_files_go": _FOLDERS,
    "tests/files/test_order.py::"
    "test_what_a_restored_store_does_not_name_goes_after_it_is_on_disk": _FOLDERS,
    "tests/files/test_screenshots.py::"
    "test_a_folder_swapped_for_a_link_at_any_instant_never_leads_outside": _SWAPPED,
    "tests/files/test_screenshots.py::"
    "test_a_folder_swapped_for_a_link_is_never_read_or_emptied_through_it": _OPEN,
    "tests/files/test_screenshots.py::test_a_folder_that_forbids_writing_is_read_only": _USERS,
    "tests/files/test_screenshots.py::"
    "test_a_full_disk_is_a_typed_error_and_leaves_no_half_image": _LIMITS,
    "tests/files/test_screenshots.py::"
    "test_a_pipe_in_place_of_an_image_is_an_error_and_does_not_hang": _PIPES,
    "tests/files/test_screenshots.py::"
    "test_an_image_that_cannot_be_read_is_a_note_in_errors": _PIPES,
    "tests/files/test_screenshots.py::"
    "test_an_ingest_notes_images_that_cannot_be_read_and_keeps_the_rest": _PIPES,
    "tests/files/test_sessions.py::"
    "test_a_dead_process_s_session_is_removed_and_another_s_is_not": _FORK,
    "tests/files/test_sessions.py::"
    "test_a_session_s_file_that_is_gone_is_made_again_under_the_same_id": _OPEN,
    "tests/files/test_sessions.py::"
    "test_a_store_that_was_copied_without_its_sessions_says_that_its_audits_ended": _OPEN,
    "tests/files/test_sessions.py::"
    "test_the_audits_of_a_living_process_survive_the_removal_of_the_folder": _OPEN,
    "tests/files/test_sessions.py::test_what_another_user_may_not_look_at_is_not_dead": _USERS,
    "tests/files/test_sessions.py::"
    "test_what_ends_the_audits_of_the_dead_in_a_transaction_sweeps_after_it": _FORK,
    "tests/files/test_sessions.py::test_what_is_not_ours_in_the_folder_stays": _PIPES,
    "tests/files/test_sessions.py::"
    "test_whoever_has_no_descriptor_left_declares_nobody_dead": _LIMITS,
    "tests/files/test_sessions.py::"
    "test_whoever_writes_notices_that_its_session_s_file_is_gone": _OPEN,
    "tests/maintenance/test_doctor.py::test_a_file_that_others_can_read_is_a_warning": _MODES,
    "tests/maintenance/test_killed.py": _FORK,
    "tests/maintenance/test_lacking_means.py::"
    "test_without_descriptors_nothing_is_called_damaged": _LIMITS,
    "tests/maintenance/test_prune.py::test_a_copy_that_fails_on_the_way_changes_nothing": _LIMITS,
    "tests/maintenance/test_prune.py::"
    "test_without_room_for_a_copy_it_says_where_and_changes_nothing": _TEMP,
    "tests/recording/test_images_in_a_table.py": _SERVER,
    "tests/recording/test_removal.py::"
    "test_a_store_that_has_left_the_wal_has_the_end_of_each_journal_on_disk": _FOLDERS,
    "tests/recording/test_removal.py::"
    "test_an_undone_delete_and_an_undone_import_leave_what_was_there": _BESIDE,
    "tests/store/test_endings.py": _LIMITS,
    "tests/threads/test_flood.py::"
    "test_a_flood_costs_little_more_than_its_tasks_and_loses_nothing": _LIMITS,
    "tests/transfer/test_copy.py::test_the_command_says_what_was_copied_and_what_is_wrong": _USERS,
    "tests/cli/test_cli.py::test_colours_only_where_they_are_wanted": _TERMINAL,
    "tests/cli/test_cli.py::test_delete_asks_on_a_terminal": _TERMINAL,
    "tests/cli/test_cli.py::test_text_of_an_audit_steers_no_terminal": _TERMINAL,
    "tests/cli/test_machines.py::"
    "test_a_command_that_is_asked_to_end_leaves_nothing_half_done": _FORK,
    "tests/cli/test_machines.py::"
    "test_a_command_that_is_asked_to_end_while_it_removes_images_ends_and_says_nothing": _FORK,
    "tests/cli/test_machines.py::"
    "test_a_live_pipe_whose_program_is_asked_to_end_is_marked": _SIGNALS,
    "tests/cli/test_machines.py::test_a_program_that_waits_ends_when_it_is_asked": _SIGNALS,
    "tests/cli/test_machines.py::"
    "test_a_last_line_without_its_newline_is_kept_or_named_too": _SIGNALS,
    "tests/cli/test_machines.py::"
    "test_an_event_that_was_read_is_recorded_before_the_signal_is_heeded": _SIGNALS,
    "tests/cli/test_machines.py::"
    "test_an_interrupt_of_which_sqlite_makes_another_error_is_one_all_the_same": _FORK,
    "tests/cli/test_machines.py::test_an_input_that_is_not_there_yet_is_waited_for": _WAITING,
    "tests/cli/test_machines.py::"
    "test_what_an_output_that_does_not_wait_has_no_room_for_is_no_success": _WAITING,
    "tests/cli/test_machines.py::test_the_exit_code_is_ours_wherever_the_interrupt_was_met": _FORK,
    "tests/database/test_a_lost_connection.py": _SERVER,
    "tests/database/test_drivers.py": _LIMITS,
    "tests/evidence/test_bag_forgeries.py": _SHELL,
    "tests/evidence/test_bags.py::test_a_hostile_bag_is_refused_and_hurts_nobody[pipe]": _PIPES,
    "tests/evidence/test_bags.py::test_a_hostile_zip_file_is_refused": _PIPES,
    "tests/evidence/test_bags.py::"
    "test_it_is_the_same_byte_for_byte_whenever_and_wherever_it_is_made": _SERVER,
    "tests/evidence/test_verify_script.py": _SHELL,
    "tests/following/test_a_server_away.py": _SERVER,
    "tests/store/test_moved_files.py": _OPEN,
    "tests/store/test_wrong_input.py::test_a_folder_that_cannot_be_written": _USERS,
    "tests/test_benchmarks.py": _LIMITS,
    "tests/torture/test_alterations.py": _TORTURE,
    "tests/torture/test_torture.py": _TORTURE,
    "tests/cli/test_machines.py::"
    "test_what_came_through_a_live_pipe_before_the_signal_is_kept_or_named": _SIGNALS,
    "tests/cli/test_serve.py::test_viewers_by_websocket_are_told_to_come_again_too": _SIGNALS,
    "tests/cli/test_serve.py::"
    "test_viewers_that_go_in_mid_stream_leave_nothing_in_the_log": _SIGNALS,
    "tests/cli/test_watch.py::test_a_file_that_is_no_longer_there_ends_it_with_an_error": _OPEN,
    "tests/cli/test_watch.py::test_on_a_terminal_it_tells_how_far_the_audit_is": _TERMINAL,
    "tests/files/test_order.py::test_a_copy_is_on_disk_before_it_is_said_to_be_complete": _FOLDERS,
    "tests/guide/test_guide.py::test_each_example_does_what_the_page_shows": _SHELL,
    "tests/store/test_fork.py": _FORK,
    "tests/store/test_processes.py::test_a_fault_of_processes_costs_nothing": _FORK,
    "tests/store/test_processes.py::"
    "test_a_forked_child_does_not_keep_its_parents_session_alive": _FORK,
    "tests/store/test_processes.py::test_a_store_is_unharmed_by_a_child_that_drops_it": _FORK,
    "tests/store/test_processes.py::test_what_a_forked_child_is_told_is_saved_stays_saved": _FORK,
    "tests/store/test_shutdown.py::"
    "test_sigterm_without_a_handler_loses_nothing_that_was_acknowledged": _SIGNALS,
    "tests/web/test_older_workers.py": _SIGNALS,
    "tests/running/test_run.py::"
    "test_an_engine_that_gives_no_result_ends_its_audit_with_the_reason"
    "[asyncio-killed]": _SIGNALS,
    "tests/running/test_run.py::"
    "test_an_engine_that_gives_no_result_ends_its_audit_with_the_reason"
    "[trio-killed]": _SIGNALS,
}
"""By a test's file, or `file::test`, or that with one case, `file::test[case]`."""


def posix_alone(nodeid: str) -> str | None:
    """Why a test is left out on Windows; None if it runs there."""
    path, _, test = nodeid.partition("::")
    name = f"{path}::{test.partition('[')[0]}"
    return POSIX_ALONE.get(path) or POSIX_ALONE.get(name) or POSIX_ALONE.get(nodeid)
