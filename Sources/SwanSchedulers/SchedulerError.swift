public import SwanSystem

/// An error from creating or using a schedule.
public typealias SchedulerError = SwanError
