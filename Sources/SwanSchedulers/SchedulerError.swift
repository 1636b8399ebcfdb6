import SwanSystem

/// Why a schedule cannot be made or used.
public typealias SchedulerError = SwanError
