/// How large a `multipart/form-data` body and its parts may be.
package struct MultipartLimits: Sendable {
    /// The maximum number of parts.
    package var parts = 64
    /// The maximum size of the headers of a part, in bytes.
    package var headerBytes = 8 << 10
    /// The maximum size of a field, in bytes.
    package var fieldBytes = 64 << 10
    /// The maximum size of all fields together, in bytes.
    package var allFieldBytes = 256 << 10
    /// The maximum sizes of fields that may be larger than others, in bytes. They count for themselves.
    package var largeFields: [String: Int] = [:]
    /// The maximum size of a file, in bytes.
    package var fileBytes = 512 << 20

    /// Creates the default limits.
    package init() {}
}
