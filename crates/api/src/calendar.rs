//! Days of the Gregorian calendar: from a number of days since 1970-01-01 to a date, and back.
//!
//! Years are counted from March, so that the leap day is the last day of its year. 400 such years (an era)
//! always have 146 097 days. Pure arithmetic without loops: a clock that is far off costs no more than one
//! that is right.

/// Days of an era.
const DAYS_OF_ERA: u64 = 146_097;
/// Days from the first of March of the year 0 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Year, month (1 to 12) and day (1 to 31) of a number of days since 1970-01-01.
pub fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (shifted / DAYS_OF_ERA, shifted % DAYS_OF_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date. `None` for a date before that, and for a month or day that no year has. A
/// day that only this month does not have counts on into the next month.
pub fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year > 1_000_000 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * DAYS_OF_ERA + day_of_era).checked_sub(DAYS_BEFORE_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (number, text) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (2_932_896, (9999, 12, 31)),
        ] {
            assert_eq!(date(number), text);
            assert_eq!(days(text.0, text.1, text.2), Some(number));
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for number in 1..3 * DAYS_OF_ERA {
            let day = date(number);
            assert_eq!(days(day.0, day.1, day.2), Some(number));
            let same_month = (before.0, before.1, before.2 + 1);
            let next_month = (before.0 + before.1 / 12, before.1 % 12 + 1, 1);
            assert!(day == same_month || (day == next_month && before.2 >= 28), "{before:?} then {day:?}");
            before = day;
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        for (year, month, day) in [
            (1969, 12, 31),
            (0, 1, 1),
            (2000, 0, 1),
            (2000, 13, 1),
            (2000, 1, 0),
            (2000, 1, 32),
            (u64::MAX, 1, 1),
        ] {
            assert_eq!(days(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}
